// The one interpreter of schedules: it knows stages, micro-batches and the list, never layers and never which schedule
// the list is of.
//
// Computing stands on the context's compute stream; activations and gradients travel on a stream and a communicator
// each, so that sends run beside what is computed next and neither kind waits for the other (simulate.h's model).
// Memory that both use is safe by three rules: a receive's buffer is taken and posted behind what the compute stream
// had been given by then; what is computed from it waits for its event; and what was sent is kept until the compute
// stream has waited for a later transfer of that stream, or for all at the end.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "monitoring/trace.h"
#include "parallel/comm/mesh_communicators.h"
#include "parallel/pipeline/instruction.h"
#include "parallel/pipeline/shape.h"
#include "trainer/model/stage.h"

namespace trireme {

class PipelineRun {
 public:
  // `stages`: this rank's, chunk by chunk. Activations travel by `peers.pp()` on `transfers`, gradients by
  // `peers.pp_gradients()` on a stream made here. All of them outlive this; `trace` may be null.
  PipelineRun(Context& context, std::vector<Stage*> stages, const MeshCommunicators& peers, Stream transfers,
              Trace* trace);
  ~PipelineRun();
  PipelineRun(const PipelineRun&) = delete;
  PipelineRun& operator=(const PipelineRun&) = delete;

  PipelineShape shape() const { return shape_; }
  int rank() const { return pp_.rank(); }

  // Puts this rank's list on the streams. Every rank of the pipeline runs its own of the same schedules.
  using PassOf = std::function<Pass(int micro_batch)>;
  void run(const Schedule& schedule, const PassOf& pass_of, std::int64_t step);

  // Forward through all stages, keeping nothing; the last adds its losses to pass.loss. Collective.
  void evaluate(const Pass& pass);

  // What the rank of the last stage holds in `x`, to all ranks, behind what is on `stream` now; and `stream` goes on
  // behind it. Collective.
  void share_from_last(Stream stream, Tensor x, const CallFor& call);
  // `mine` to rank `peer`, its own into `theirs`; between the two alone, in order with the compute stream.
  void swap(int peer, Tensor mine, Tensor theirs, const CallFor& call);

 private:
  // One way of transfers: its calls are in order.
  struct Lane {
    Communicator* peers = nullptr;
    Stream stream;
    Trace::Track track;
    // Recorded on this stream only: were one recorded on two, the earlier record could happen after the later.
    Event done;
    std::vector<Event> events, free_events;
    std::uint64_t exchanges = 0;
    std::deque<std::pair<std::uint64_t, ArenaTensor>> sent;  // by exchange; kept until the compute stream is behind it
  };
  struct Arrival {
    ArenaTensor tensor;
    Lane* lane = nullptr;        // that brought it; null: it was made on this rank
    std::uint64_t exchange = 0;  // of the lane
    Event event;                 // that it is there
    std::string_view call;       // that brought it
  };
  using Arrivals = std::map<std::pair<int, int>, Arrival>;  // (stage, micro-batch) that takes it

  Stage& stage(int stage) const { return *stages_[static_cast<std::size_t>(stage / shape_.ranks)]; }
  bool here(int stage) const { return shape_.rank_of(stage) == pp_.rank(); }
  ArenaTensor take(Arrivals& from, int stage, int micro_batch, std::int64_t step);
  void pass_on(Arrivals& to, int stage, int micro_batch, ArenaTensor tensor);
  void compute(const Instruction& now, bool fused, const Pass& pass);
  void exchange(std::span<const Instruction> transfers, const PassOf& pass_of, std::int64_t step);
  void finish_transfers(std::int64_t step);
  void behind(Lane& lane, Stream stream);                       // the lane goes on behind what is on the stream now
  void behind(Stream stream, Lane& lane, const CallFor& call);  // and the other way, for what the call brings
  Event take_event(Lane& lane);
  std::string_view keep(std::string name) { return *names_.insert(std::move(name)).first; }

  Context& context_;
  std::vector<Stage*> stages_;
  Communicator& pp_;
  PipelineShape shape_;
  Trace::Track compute_track_, waits_track_;
  Lane activations_, gradients_;
  Arrivals inputs_, output_gradients_;  // not taken yet
  Arrivals outputs_, input_gradients_;  // to be sent; the key is the stage that made it
  Event computed_;                      // recorded on the compute stream only
  Event elsewhere_;                     // and on the one other that results are shared on
  std::set<std::string> names_;         // of calls: they outlive them
};

}  // namespace trireme
