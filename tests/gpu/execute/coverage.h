// A kernel that is right on the stand-in proves nothing if the model of one of its instructions is wrong. So that the
// back end cannot come to use a model that nothing tests, the list of tested models is kept here (tested_models.inc),
// and the tests hold it to what they really exercise.
//
// Names are those that `models` (launch.h) lists: opcode and modifiers, without hints.
#pragma once

#include <string>
#include <vector>

namespace trireme::gpu {

struct Module;

// Sorted.
const std::vector<std::string>& tested_models();

// Those of the module's models that no test exercises.
std::vector<std::string> untested(const Module& module);

// Called by the harness of the tests: this process has run the model, and a test has looked at what it gave.
void record_exercised(const std::string& name);
std::vector<std::string> exercised();  // sorted

}  // namespace trireme::gpu
