#include "parallel/comm/local_table.h"

#include <algorithm>
#include <cstring>

#include "monitoring/error.h"

namespace trireme {

LocalTable::LocalTable(std::shared_ptr<LocalRoom> room, Members members)
    : room_(std::move(room)),
      members_(std::move(members)),
      seats_(members_.ranks.size()),
      mailboxes_(members_.ranks.size() * members_.ranks.size()) {
  const std::lock_guard lock(room_->mutex);
  room_->tables.push_back(this);
  for (int rank = 0; rank < size(); ++rank)
    if (const auto found = room_->left.find(members_.ranks[static_cast<std::size_t>(rank)]); found != room_->left.end())
      get_up_for_good(rank, found->second);
}

LocalTable::~LocalTable() {
  const std::lock_guard lock(room_->mutex);
  std::erase(room_->tables, this);
}

std::deque<LocalTable::Parcel*>& LocalTable::mailbox(int from, int to) {
  return mailboxes_[static_cast<std::size_t>(from) * seats_.size() + static_cast<std::size_t>(to)];
}

void LocalTable::take_seat(int rank) {
  const std::lock_guard lock(room_->mutex);
  CHECK(rank >= 0 && rank < size(), "rank ", rank, " of ", size());
  Seat& seat = seats_[static_cast<std::size_t>(rank)];
  CHECK(!seat.taken, "rank ", rank, " joins twice");
  seat.taken = true;
}

void LocalTable::leave(int rank, const std::string& why) {
  const std::lock_guard lock(room_->mutex);
  CHECK(rank >= 0 && rank < size(), "rank ", rank, " of ", size());
  get_up_for_good(rank, why);
}

void LocalRoom::leave(int rank_of_world, const std::string& why) {
  const std::lock_guard lock(mutex);
  left.emplace(rank_of_world, why);
  for (LocalTable* table : tables)
    for (int rank = 0; rank < table->size(); ++rank)
      if (table->members().ranks[static_cast<std::size_t>(rank)] == rank_of_world) table->get_up_for_good(rank, why);
}

void LocalTable::get_up_for_good(int rank, const std::string& why) {
  Seat& seat = seats_[static_cast<std::size_t>(rank)];
  if (seat.left) return;
  seat.left = true;
  seat.why_left = why;
  changed_.notify_all();
}

std::string LocalTable::whereabouts(int rank) const {
  const Seat& seat = seats_[static_cast<std::size_t>(rank)];
  const std::string who = members_.rank(rank);
  if (seat.in_call) return who + " is in " + to_string(seat.call, members_);
  if (seat.left) return who + " left: " + seat.why_left;
  if (seat.calls == 0) return who + " has made no call yet";
  return who + " is in no call, its last was " + to_string(seat.call, members_);
}

std::string LocalTable::whereabouts_of_all() const {
  std::string text;
  for (int rank = 0; rank < size(); ++rank) text += (rank ? "; " : "") + whereabouts(rank);
  std::string elsewhere;
  for (const LocalTable* other : room_->tables)
    for (int rank = 0; other != this && rank < other->size(); ++rank)
      if (other->seats_[static_cast<std::size_t>(rank)].in_call)
        elsewhere += (elsewhere.empty() ? "" : "; ") + other->whereabouts(rank);
  return elsewhere.empty() ? text : text + ". Elsewhere " + elsewhere;
}

void LocalTable::fail(const std::string& what) {
  if (room_->failure.empty()) {
    const std::string group = members_.group == "world" ? "" : " (in " + members_.group + ")";
    room_->failure = what + group + ". " + whereabouts_of_all();
  }
  for (LocalTable* table : room_->tables) table->changed_.notify_all();
  throw PeerError(room_->failure);
}

void LocalTable::enter(int rank, const Call& call) {
  Seat& seat = seats_[static_cast<std::size_t>(rank)];
  CHECK(!seat.in_call, members_.rank(rank), " calls ", to_string(call, members_), " beside ",
        to_string(seat.call, members_), ": order the calls of one communicator by a stream or by events");
  if (!room_->failure.empty()) throw PeerError(room_->failure);
  seat.call = call;
  seat.in_call = true;
  ++seat.calls;
}

void LocalTable::check_same(int rank) {
  const Call& call = seats_[static_cast<std::size_t>(rank)].call;
  for (std::size_t peer = 0; peer < seats_.size(); ++peer)
    if (seats_[peer].arrived && !(seats_[peer].call == call))
      fail(members_.ranks_of(static_cast<int>(peer), rank) + " make different calls");
}

// Returns when ready() is true. `needs` names a rank without which it cannot become true, or -1.
void LocalTable::await(Lock& lock, int rank, const std::function<bool()>& ready, const std::function<int()>& needs) {
  Seat& seat = seats_[static_cast<std::size_t>(rank)];
  const auto deadline = std::chrono::steady_clock::now() + room_->timeout;
  while (!ready()) {
    if (!room_->failure.empty()) throw PeerError(room_->failure);
    const int needed = needs();
    if (needed >= 0 && seats_[static_cast<std::size_t>(needed)].left)
      fail(members_.rank(rank) + " waits for " + members_.rank(needed) + ", which left");
    seat.stuck = true;
    if (std::all_of(seats_.begin(), seats_.end(), [](const Seat& each) { return each.stuck || each.left; }))
      fail("deadlock: each of these ranks waits for another");
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout && !ready() && room_->failure.empty())
      fail(members_.rank(rank) + " has waited for " + std::to_string(room_->timeout.count()) + " ms");
  }
  seat.stuck = false;
}

void LocalTable::collective(int rank, const Call& call, const Operands& mine,
                            const std::function<void(std::span<const Operands>)>& work) {
  Lock lock(room_->mutex);
  enter(rank, call);
  Seat& seat = seats_[static_cast<std::size_t>(rank)];
  struct GetUp {  // the lock is held when it goes
    Seat& seat;
    ~GetUp() { seat.in_call = seat.stuck = false; }
  } get_up{seat};
  seat.operands = mine;
  seat.arrived = true;
  check_same(rank);

  const std::uint64_t meeting = formed_;
  if (++arrived_ == size()) {
    brought_.clear();
    for (Seat& each : seats_) {
      brought_.push_back(each.operands);
      each.arrived = each.stuck = false;
    }
    arrived_ = 0;
    working_ = size();
    ++formed_;
    changed_.notify_all();
  } else {
    const auto missing = [&] {
      for (int peer = 0; peer < size(); ++peer) {
        const Seat& other = seats_[static_cast<std::size_t>(peer)];
        if (!other.arrived && other.left) return peer;
      }
      return -1;
    };
    await(
        lock, rank, [&] { return formed_ != meeting; }, missing);
  }

  // All are here and none can go before all have worked, so from here to the end nothing can fail: peers' tensors stay.
  lock.unlock();
  work(brought_);
  lock.lock();
  if (--working_ == 0) {
    ++ended_;
    changed_.notify_all();
  } else {
    changed_.wait(lock, [&] { return ended_ > meeting; });
  }
}

// Takes, in order, what peers have posted. The lock is let go while a parcel is copied.
bool LocalTable::receive_what_is_there(Lock& lock, int rank, std::span<const Transfer> receives,
                                       std::vector<bool>& done) {
  bool some = false;
  for (std::size_t i = 0; i < receives.size(); ++i) {
    const auto& [to, peer] = receives[i];
    bool earlier = false;  // from the same peer, still to come
    for (std::size_t j = 0; j < i; ++j) earlier |= !done[j] && receives[j].peer == peer;
    std::deque<Parcel*>& box = mailbox(peer, rank);
    if (done[i] || earlier || box.empty()) continue;
    Parcel& parcel = *box.front();
    const Tensor from = parcel.tensor;
    if (from.dtype != to.dtype || from.bytes() != to.bytes())
      fail(members_.rank(peer) + " sends " + std::to_string(from.bytes()) + " bytes of " + name_of(from.dtype) +
           " where " + members_.rank(rank) + " receives " + std::to_string(to.bytes()) + " bytes of " +
           name_of(to.dtype));
    box.pop_front();
    parcel.stage = Stage::kTaking;
    lock.unlock();
    if (to.bytes() > 0) std::memmove(to.data, from.data, to.bytes());
    lock.lock();
    parcel.stage = Stage::kTaken;
    seats_[static_cast<std::size_t>(peer)].stuck = false;
    changed_.notify_all();
    done[i] = some = true;
  }
  return some;
}

// After a failure: nobody may read this rank's tensors once its call has thrown.
void LocalTable::withdraw(Lock& lock, int rank, std::deque<Parcel>& parcels) {
  for (int peer = 0; peer < size(); ++peer)
    std::erase_if(mailbox(rank, peer), [&](Parcel* posted) {
      return std::any_of(parcels.begin(), parcels.end(), [&](Parcel& each) { return &each == posted; });
    });
  changed_.wait(lock, [&] {
    return std::none_of(parcels.begin(), parcels.end(), [](Parcel& each) { return each.stage == Stage::kTaking; });
  });
}

void LocalTable::exchange(int rank, const Call& call, std::span<const Transfer> sends,
                          std::span<const Transfer> receives) {
  Lock lock(room_->mutex);
  enter(rank, call);
  Seat& seat = seats_[static_cast<std::size_t>(rank)];
  std::deque<Parcel> parcels;
  std::vector<bool> done(receives.size(), false);
  for (const Transfer& send : sends) {
    parcels.push_back({send.tensor, Stage::kPosted});
    mailbox(rank, send.peer).push_back(&parcels.back());
    seats_[static_cast<std::size_t>(send.peer)].stuck = false;
  }
  changed_.notify_all();

  const auto all_done = [&] { return std::find(done.begin(), done.end(), false) == done.end(); };
  const auto all_taken = [&] {
    return std::all_of(parcels.begin(), parcels.end(), [](Parcel& each) { return each.stage == Stage::kTaken; });
  };
  const auto can_receive = [&] {
    for (std::size_t i = 0; i < receives.size(); ++i)
      if (!done[i] && !mailbox(receives[i].peer, rank).empty()) return true;
    return false;
  };
  const auto needs = [&] {
    for (std::size_t i = 0; i < receives.size(); ++i)
      if (!done[i] && seats_[static_cast<std::size_t>(receives[i].peer)].left) return receives[i].peer;
    for (std::size_t i = 0; i < sends.size(); ++i)
      if (parcels[i].stage == Stage::kPosted && seats_[static_cast<std::size_t>(sends[i].peer)].left)
        return sends[i].peer;
    return -1;
  };
  try {
    while (!(all_done() && all_taken())) {
      if (receive_what_is_there(lock, rank, receives, done)) continue;
      await(
          lock, rank, [&] { return can_receive() || (all_done() && all_taken()); }, needs);
    }
  } catch (...) {
    withdraw(lock, rank, parcels);
    seat.in_call = seat.stuck = false;
    throw;
  }
  seat.in_call = false;
}

}  // namespace trireme
