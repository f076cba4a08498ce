#include "cuda/host/host_device.h"

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

class HostDevice : public ::testing::TestWithParam<StreamMode> {
 protected:
  std::unique_ptr<Device> make(std::uint64_t seed = 1, bool guard = false) {
    return make_host_device({.threads = 1, .streams = GetParam(), .shuffle_seed = seed, .guard_memory = guard});
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, HostDevice, ::testing::Values(StreamMode::kImmediate, StreamMode::kLazy),
                         [](const auto& mode) { return mode.param == StreamMode::kLazy ? "Lazy" : "Immediate"; });

TEST_P(HostDevice, OneStreamKeepsItsOrder) {
  for (StreamKind kind : {StreamKind::kCompute, StreamKind::kCommunication}) {
    const auto device = make();
    const Stream stream = device->create_stream(kind, "only");
    std::vector<int> seen;
    for (int i = 0; i < 20; ++i) device->run(stream, [&seen, i] { seen.push_back(i); });
    device->synchronize(stream);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(seen[i], i);
    EXPECT_EQ(seen.size(), 20u);
    device->destroy_stream(stream);
  }
}

TEST_P(HostDevice, AnEventOrdersTwoStreams) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto device = make(seed);
    const Stream compute = device->create_stream(StreamKind::kCompute, "compute");
    const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
    const Event sent = device->create_event();
    const Event reduced = device->create_event();
    int value = 1;
    for (int i = 0; i < 5; ++i) {
      device->run(compute, [&] { value += 3; });
      device->record(compute, sent);
      device->wait(comm, sent);
      device->run(comm, [&] { value *= 2; });
      device->record(comm, reduced);
      device->wait(compute, reduced);
    }
    device->synchronize(compute);
    EXPECT_EQ(value, 218);
    device->destroy_event(sent);
    device->destroy_event(reduced);
    device->destroy_stream(comm);
    device->destroy_stream(compute);
  }
}

TEST_P(HostDevice, WaitingForAnEventThatWasNeverRecordedGoesOn) {
  const auto device = make();
  const Stream stream = device->create_stream(StreamKind::kCompute, "compute");
  const Event event = device->create_event();
  device->wait(stream, event);
  device->synchronize(stream);
  device->destroy_event(event);
  device->destroy_stream(stream);
}

TEST_P(HostDevice, UploadTakesItsSourceAndDownloadGivesItBack) {
  for (StreamKind kind : {StreamKind::kCompute, StreamKind::kCommunication}) {
    const auto device = make(1, true);
    const Stream stream = device->create_stream(kind, "copies");
    std::byte* memory = device->allocate(3 * sizeof(float));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 4096, 0u);
    const Tensor tensor{memory, DType::kF32, {3}};
    std::vector<float> source = {1, 2, 3};
    std::vector<float> back(3);
    device->upload(stream, tensor, source.data());
    source.assign(3, -1);
    device->download(stream, back.data(), tensor);
    device->synchronize(stream);
    EXPECT_EQ(back, (std::vector<float>{1, 2, 3}));
    device->destroy_stream(stream);
    device->release(memory);
  }
}

TEST_P(HostDevice, AnExceptionOnTheCommunicationThreadComesOutOfSynchronize) {
  const auto device = make();
  const Stream compute = device->create_stream(StreamKind::kCompute, "compute");
  const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
  const Event event = device->create_event();
  bool ran_after = false;
  device->run(comm, [] { throw PeerError("rank 3 left"); });
  device->run(comm, [&] { ran_after = true; });
  try {
    device->record(comm, event);
    device->wait(compute, event);
    device->synchronize(compute);
    FAIL() << "nothing was thrown";
  } catch (const PeerError& error) {
    EXPECT_STREQ(error.what(), "rank 3 left");
  }
  EXPECT_THROW(device->synchronize(comm), PeerError);
  EXPECT_FALSE(ran_after);
  device->destroy_event(event);
  device->destroy_stream(comm);
  device->destroy_stream(compute);
}

TEST_P(HostDevice, TwoBlockedCommunicationStreamsDoNotWaitForOneAnother) {
  const auto device = make();
  const Stream first = device->create_stream(StreamKind::kCommunication, "first");
  const Stream second = device->create_stream(StreamKind::kCommunication, "second");
  for (int round = 0; round < 4; ++round) {
    auto met_first = std::make_shared<std::promise<void>>();
    auto met_second = std::make_shared<std::promise<void>>();
    // Each needs the other to have started, like collectives whose peers take them in another order.
    device->run(first, [=] { met_first->set_value(), met_second->get_future().wait(); });
    device->run(second, [=] { met_second->set_value(), met_first->get_future().wait(); });
  }
  device->synchronize(first);
  device->synchronize(second);
  device->destroy_stream(first);
  device->destroy_stream(second);
}

TEST_P(HostDevice, ATaskOfTheComputeStreamMayWaitForOneOfAnotherStream) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const auto device = make(seed);
    const Stream compute = device->create_stream(StreamKind::kCompute, "compute");
    const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
    std::promise<void> sent;
    bool came = false;
    // As a collective waits for a peer that first needs what this rank sends on another stream.
    device->run(comm, [&] { sent.set_value(); });
    device->run(compute,
                [&] { came = sent.get_future().wait_for(std::chrono::seconds(5)) == std::future_status::ready; });
    device->synchronize(compute);
    device->synchronize(comm);
    EXPECT_TRUE(came) << "shuffled by " << seed;
    device->destroy_stream(comm);
    device->destroy_stream(compute);
  }
}

TEST_P(HostDevice, DestroyingAStreamRunsWhatIsOnIt) {
  const auto device = make();
  const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
  std::atomic<int> ran = 0;
  for (int i = 0; i < 10; ++i) device->run(comm, [&] { ++ran; });
  device->destroy_stream(comm);
  EXPECT_EQ(ran, 10);
}

TEST(LazyHostDevice, ShufflesFindAMissingEvent) {
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto device = make_host_device({.streams = StreamMode::kLazy, .shuffle_seed = seed});
    const Stream compute = device->create_stream(StreamKind::kCompute, "compute");
    const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
    int value = 0;
    int read = -1;
    device->run(comm, [&] { value = 1; });
    device->run(compute, [&] { read = value; });  // without an event
    device->synchronize(compute);
    wrong += read != 1;
    device->destroy_stream(comm);
    device->destroy_stream(compute);
  }
  EXPECT_GT(wrong, 0);
  EXPECT_LT(wrong, 20);
}

TEST(LazyHostDevice, TheSeedGivesTheOrder) {
  constexpr int kItems = 12;
  // What each read of one stream sees of the other's writes.
  const auto order = [](std::uint64_t seed) {
    const auto device = make_host_device({.streams = StreamMode::kLazy, .shuffle_seed = seed});
    const Stream writes = device->create_stream(StreamKind::kCompute, "writes");
    const Stream reads = device->create_stream(StreamKind::kCompute, "reads");
    std::byte* memory = device->allocate(sizeof(float));
    const Tensor x{memory, DType::kF32, {1}};
    std::vector<float> seen(kItems);
    for (int i = 0; i < kItems; ++i) {
      const auto value = static_cast<float>(i + 1);
      device->upload(writes, x, &value);
      device->download(reads, &seen[static_cast<std::size_t>(i)], x);
    }
    device->synchronize(writes);
    device->synchronize(reads);
    device->destroy_stream(writes);
    device->destroy_stream(reads);
    device->release(memory);
    return seen;
  };
  EXPECT_EQ(order(5), order(5));
  EXPECT_NE(order(5), order(6));
}

TEST(LazyHostDevice, NothingRunsBeforeSynchronize) {
  const auto device = make_host_device({.streams = StreamMode::kLazy});
  const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
  std::atomic<bool> ran = false;
  device->run(comm, [&] { ran = true; });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(ran);
  device->synchronize(comm);
  EXPECT_TRUE(ran);
  device->destroy_stream(comm);
}

TEST(LazyHostDeviceDeathTest, ATaskMustNotSynchronize) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto device = make_host_device({.streams = StreamMode::kLazy});
        const Stream compute = device->create_stream(StreamKind::kCompute, "compute");
        const Stream comm = device->create_stream(StreamKind::kCommunication, "comm");
        device->run(comm, [&] { device->synchronize(compute); });
        device->synchronize(comm);
      },
      "it would wait for itself");
}

TEST(HostMemoryDeathTest, FaultsOutsideOfStreamWorkWhenGuarded) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto device = make_host_device({.guard_memory = true});
  const Stream stream = device->create_stream(StreamKind::kCompute, "compute");
  std::byte* memory = device->allocate(8192);
  device->run(stream, [&] {
    device->run(stream, [&] { memory[1] = std::byte{2}; });
    memory[0] = std::byte{1};  // still open after the nested work
  });
  EXPECT_DEATH(memory[0] = std::byte{3}, "");
  device->release(memory);
  device->destroy_stream(stream);
}

TEST(HostMemoryDeathTest, MustNotOutliveItsDevice) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const auto device = make_host_device({});
        static_cast<void>(device->allocate(1));
      },
      "1 blocks of memory outlive their device");
}

TEST(HostMemory, MoreThanThereIsIsTheUsersMistake) {
  const auto device = make_host_device({});
  EXPECT_THROW(device->allocate(std::size_t{1} << 55), UserError);
  EXPECT_THROW(device->allocate(~std::size_t{0}), UserError);
}

TEST(HostDeviceDescription, NamesTheInstructionSetAndTheLibrary) {
  EXPECT_NE(host_description().find("oneDNN 2"), std::string::npos) << host_description();
}

}  // namespace
}  // namespace trireme
