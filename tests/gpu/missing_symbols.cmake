# Writes OUTPUT: a weak definition for every function that LIBRARY exports, which ends the process and says its name. A
# source of the stand-in that defines the function takes its place; nothing is resolved in silence.
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL " [TW] (__cuda|cuda|cublasLt|nccl|pnccl)[A-Za-z0-9_]*" functions "${symbols}")
get_filename_component(name ${LIBRARY} NAME)
set(text "// Made by missing_symbols.cmake from ${name}.\n#include \"tests/gpu/runtime/missing.h\"\n\nextern \"C\" {\n")
foreach(function ${functions})
  string(REGEX REPLACE "^ [TW] " "" function ${function})
  string(APPEND text "__attribute__((weak)) void ${function}() { trireme::gpu::missing(__func__, \"${name}\"); }\n")
endforeach()
file(WRITE ${OUTPUT} "${text}}\n")
