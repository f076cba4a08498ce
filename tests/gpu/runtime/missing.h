// A function of the real library that the stand-in does not have must not pass for one that succeeded.
#pragma once

namespace trireme::gpu {

[[noreturn]] void missing(const char* function, const char* library);

}  // namespace trireme::gpu
