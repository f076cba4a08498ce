// What Progress needs of the log: the one line below all others that is drawn over and over. Only for monitoring/.
#pragma once

#include <string_view>

namespace trireme::log_bar {

bool on_terminal();                // whether a bar can be drawn at all
int columns();                     // of the terminal
void show(std::string_view text);  // replaces the bar; empty takes it away

}  // namespace trireme::log_bar
