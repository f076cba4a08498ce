// A device that has everything but numbers. The step runs on it to learn how much memory it takes and which calls it
// makes, for any rank of any mesh on one CPU. Its addresses are never followed: they start at kBase, where nothing is
// mapped.
#pragma once

#include "cuda/core/device.h"

namespace trireme {

class ShapeOnlyDevice : public Device {
 public:
  static constexpr std::uintptr_t kBase = 4096;
  // What to give Arena as its base.
  static std::byte* base() { return reinterpret_cast<std::byte*>(kBase); }

  const char* name() const override { return "shape-only"; }
  std::byte* allocate(std::size_t) override { return base(); }
  void release(std::byte*) override {}
  Stream create_stream(StreamKind, const char*) override { return {}; }
  void destroy_stream(Stream) override {}
  Event create_event() override { return {}; }
  void destroy_event(Event) override {}
  void record(Stream, Event) override {}
  void wait(Stream, Event) override {}
  void synchronize(Stream) override {}
  void upload(Stream, Tensor, const void*) override {}
  void download(Stream, void*, Tensor) override { CHECK(false, "a shape-only device has no values to read"); }
  void run(Stream, std::function<void()>) override {}
};

}  // namespace trireme
