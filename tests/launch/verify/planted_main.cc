// `trireme` with mistakes to plant: trireme_planted verify FILE --plant NAME.
#include "launch/command_line/commands.h"
#include "tests/trainer/verify/plants.h"

int main(int count, char** arguments) {
  return trireme::run_program({arguments + 1, arguments + count}, trireme::all_plants());
}
