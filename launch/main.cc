#include <string>
#include <vector>

#include "launch/command_line/commands.h"

int main(int argc, char** argv) {
  return trireme::run_program(std::vector<std::string>(argv + (argc > 0), argv + argc));
}
