// cudart's functions about streams and events.
#include <cuda_runtime_api.h>

#include "tests/gpu/runtime/gpu.h"

using trireme::gpu::call;
using trireme::gpu::Gpu;
using trireme::gpu::host_function;
using trireme::gpu::Refusal;
using trireme::gpu::Report;

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return call(__func__, [&](Gpu& gpu) {
    if ((flags & ~unsigned{cudaStreamNonBlocking}) != 0) throw Refusal(cudaErrorInvalidValue, "unknown stream flags");
    *stream = gpu.streams.create(Gpu::current_device(), flags, priority);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) {
    if (stream == nullptr || stream == cudaStreamLegacy)
      throw Refusal(cudaErrorInvalidResourceHandle, "the default stream cannot be destroyed");
    gpu.streams.destroy(gpu.stream(stream));
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) {
    Report::of_process().host_synchronised("cudaStreamSynchronize");
    gpu.streams.synchronize(gpu.stream(stream));
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) {
    if (!gpu.streams.query(gpu.stream(stream))) throw Refusal(cudaErrorNotReady, "the stream has work to do");
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return call(__func__, [&](Gpu& gpu) {
    if (flags != 0) throw Refusal(cudaErrorInvalidValue, "flags of cudaStreamWaitEvent other than 0");
    gpu.streams.wait(gpu.stream(stream), event);
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return call(__func__, [&](Gpu& gpu) { *flags = gpu.stream(stream)->flags; });
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return call(__func__, [&](Gpu& gpu) { *priority = gpu.stream(stream)->priority; });
}

cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  return call(__func__, [&](Gpu& gpu) { *id = gpu.stream(stream)->id; });
}

cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return call(__func__, [&](Gpu& gpu) { *device = gpu.stream(stream)->device; });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call(__func__, [&](Gpu& gpu) {
    gpu.stream(stream);
    *status = cudaStreamCaptureStatusNone;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  return call(__func__, [](Gpu&) { throw Refusal(cudaErrorNotSupported, "graph capture is not implemented"); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return call(__func__, [&](Gpu& gpu) {
    if (function == nullptr) throw Refusal(cudaErrorInvalidValue, "no function");
    gpu.streams.enqueue(gpu.stream(stream), "cudaLaunchHostFunc", host_function([function, data] { function(data); }));
  });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call(__func__, [&](Gpu& gpu) {
    if ((flags & ~unsigned{cudaEventDisableTiming | cudaEventBlockingSync}) != 0)
      throw Refusal(cudaErrorNotSupported, "events between processes are not implemented");
    *event = gpu.streams.create_event(Gpu::current_device(), (flags & cudaEventDisableTiming) == 0);
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(__func__, [&](Gpu& gpu) { gpu.streams.destroy_event(event); });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  return call(__func__, [&](Gpu& gpu) {
    if (flags != 0) throw Refusal(cudaErrorInvalidValue, "flags of cudaEventRecordWithFlags other than 0");
    gpu.streams.record(event, gpu.stream(stream));
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call(__func__, [&](Gpu& gpu) {
    Report::of_process().host_synchronised("cudaEventSynchronize");
    gpu.streams.synchronize_event(event);
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call(__func__, [&](Gpu& gpu) {
    if (!gpu.streams.query_event(event)) throw Refusal(cudaErrorNotReady, "the event has not happened");
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return call(__func__, [&](Gpu& gpu) { *milliseconds = gpu.streams.milliseconds(from, to); });
}

}  // extern "C"
