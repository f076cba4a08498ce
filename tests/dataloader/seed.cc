// RapidCheck draws another seed in each run; here a failure must repeat. RC_PARAMS from outside still wins.
#include <cstdlib>

namespace {
[[maybe_unused]] const int kSeeded = ::setenv("RC_PARAMS", "seed=20261122", /*overwrite=*/0);
}
