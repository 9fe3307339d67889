// SPDX-License-Identifier: Apache-2.0
/// \file  A causal mixer token by token, by value: keeps the state, returns tensors.
#pragma once

#include <optional>
#include <utility>

#include <smx/mixers/run.hpp>
#include <smx/mixers/state.hpp>

namespace smx {

/// `stream s(be, mix, w, capacity);`, then `auto y = s.prefill(x...);` and `auto y1 = s.step(x1...);` as
/// often as tokens come: together the rows of forward over all of them. The weights may be {} where a mixer
/// has none.
///
/// The state is made by the first call, which gives batch, heads and dim. Backend and weights must outlive
/// the stream; the mixer is copied. Throws precondition_error for a capacity below 1 and for tokens beyond
/// the capacity, which change nothing.
template <class M, class B>
requires StreamingMixer<M, B>
class stream {
 public:
  using scalar = typename M::scalar;
  using output = tensor<scalar, 4, space_t<B>>;

  stream(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w, index_t capacity)
      : be_(&be), m_(m), w_(w), capacity_(capacity) {
    expects_value(capacity >= 1, "stream: capacity", "at least 1", capacity);
  }

  /// Goes on from a state, such as one that load_state read.
  stream(B& be, M const& m, std::type_identity_t<weights_in<M, B>> const& w,
         state_of<M, B> s) requires VisitableState<state_of<M, B>>
      : be_(&be), m_(m), w_(w), capacity_(s.capacity), position_(s.tokens()), state_(std::move(s)) {}

  /// The outputs of any number of tokens that follow those so far: x (B,H,n,D), y (B,H,n,E).
  template <ArrayOf<B, scalar>... X> output prefill(X const&... x) {
    return run([&](auto const& in, auto const& y) { m_.prefill(*be_, w_, in, *state_, y); }, x...);
  }
  /// The output of one token: x (B,H,1,D), y (B,H,1,E).
  template <ArrayOf<B, scalar>... X> output step(X const&... x) {
    return run([&](auto const& in, auto const& y) { m_.step(*be_, w_, in, *state_, y); }, x...);
  }

  /// A second stream that goes on from here on its own: to try tokens, and to come back to. Mixer and weights
  /// are shared.
  stream clone() const requires VisitableState<state_of<M, B>> {
    if (!state_) return stream(*be_, m_, w_, capacity_);
    return stream(*be_, m_, w_, clone_state(*be_, *state_));
  }
  /// Forgets all but the first `length` tokens, where the mixer can (attention); others go back to a clone.
  void truncate(index_t length) requires requires(M const& m, state_of<M, B>& s) { m.truncate(s, length); }
  {
    expects_value(length >= 0 && length <= position_, "stream: length", "0 to the tokens so far", length);
    if (state_) m_.truncate(*state_, length);
    position_ = length;
  }
  /// What save_state writes. Throws before the first call, which makes it.
  state_of<M, B> const& state() const {
    expects(state_.has_value(), "stream: state: expected a prefill or a step before, got none");
    return *state_;
  }

  /// Tokens so far, and at most.
  index_t position() const { return position_; }
  index_t capacity() const { return capacity_; }
  /// Memory of the state; 0 before the first call.
  std::size_t bytes() const requires requires(state_of<M, B> const& s) { s.bytes(); }
  { return state_ ? state_->bytes() : 0; }

 private:
  template <class F, class... X> output run(F const& call, X const&... x) {
    auto const in = detail::collect_inputs<M, reads<B>>(x...);
    output y(be_->memory(), m_.output_extents(in));  // (B,H,n,E)
    if (!state_) state_.emplace(m_.make_state(*be_, w_, in, capacity_));
    {
      auto frame = be_->scope();
      call(in, y.view());
    }
    be_->synchronize();
    position_ += y.extents()[2];
    return y;
  }

  B* be_;
  M m_;
  weights_in<M, B> w_;
  index_t capacity_, position_ = 0;
  std::optional<state_of<M, B>> state_;
};

}  // namespace smx
