// `trireme inspect DATA --text train | head` must end quietly when head has seen enough, and a full disk under `> file`
// must not. Commands whose result is their output write it here; both cases surface where they happen.
#pragma once

#include <string_view>

namespace trireme {

// The reader of standard output has gone: nobody is left to tell. run_program ends with exit code 0.
struct OutputClosed {};

// All of `text`, or throws OutputClosed, or UserError (a full disk).
void write_output(std::string_view text);
// What is buffered, likewise.
void flush_output();

}  // namespace trireme
