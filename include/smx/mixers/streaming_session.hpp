// SPDX-License-Identifier: Apache-2.0
/// \file  A stack of layers on a sequence that is still coming. Each row of each layer is computed once, with
/// the input row that makes it computable (see stream_frontier), and equals that of the whole sequence.
///
/// Work: that of the layers, on neighbouring rows together, and O(rows that wait) for each push. Memory: the
/// rows of every layer up to the capacity, and what the layers keep.
#pragma once

#include <array>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <smx/mixers/row_layer.hpp>

namespace smx {

/// `streaming_session s(be, {1, 1, capacity, dim}, layers...);`, the lowest layer first; then
/// `for (index_range r : s.push(x)) use(s.rows(r));` whenever rows come, and the same with s.finish() after
/// the last one. Rows come out as they become computable, not in order.
///
/// The backend must outlive the session; layers are moved in. After the constructor nothing is allocated but
/// by layers and for their scratch. Throws precondition_error for extents that differ from those that it was
/// made for, for rows beyond the capacity and for rows after the last one, which change nothing.
template <class B, class... Layers>
requires(sizeof...(Layers) > 0 && (RowLayer<Layers, B> && ...)) class streaming_session {
 public:
  using scalar = typename std::tuple_element_t<0, std::tuple<Layers...>>::scalar;
  static_assert((std::same_as<typename Layers::scalar, scalar> && ...), "layers of one element type");

  /// For sequences of at most x[2] rows, x (B,H,capacity,D).
  streaming_session(B& be, extents<4> const& x, Layers... layers)
      : be_(&be), layers_(std::move(layers)...), ext_(x) {
    checked_size(x, "streaming_session: x");
    auto const rows = static_cast<std::size_t>(x[2]);
    emitted_.reserve(rows);
    for (progress& p : progress_) p.rows.resize(rows), p.ahead.resize(rows);
    values_[0] = tensor<scalar, 4, space_t<B>>(be.memory(), x);
    begin<0>(x);
  }

  /// The next rows of the input, x (B,H,n,D). Returns which output rows that makes computable, each one once;
  /// the list lives until the next call.
  std::span<index_range const> push(in<B, scalar, 4> x) {
    expects(!finished_, "streaming_session: x: expected no rows after the last one, got some");
    expects_extents("streaming_session: x", x.ext, {ext_[0], ext_[1], -1, ext_[3]});
    index_t const n = x.ext[2];
    expects_value(n <= ext_[2] - arrived_, "streaming_session: x", "rows within the capacity; rows in all",
                  arrived_ + n);
    be_->copy(x, slice(values_[0].view(), 2, arrived_, n));
    emitted_.clear();
    arrived_ += n;
    arrive<0>({arrived_ - n, arrived_});
    advance<0>();
    be_->synchronize();
    return emitted_;
  }

  /// No row comes any more: what still waits looks no farther than the last one, and is computable.
  std::span<index_range const> finish() {
    expects(!finished_, "streaming_session: finish: expected one call, got another");
    finished_ = true;
    emitted_.clear();
    advance<0>();
    be_->synchronize();
    return emitted_;
  }

  /// Output rows that have been returned: (B,H',n,D').
  in<B, scalar, 4> rows(index_range r) const {
    expects_value(0 <= r.first && r.first < r.last && r.last <= arrived_, "streaming_session: rows",
                  "some that have come; end", r.last);
    return slice(values_[sizeof...(Layers)].cview(), 2, r.first, r.last - r.first);
  }

  /// Input rows so far, and at most.
  index_t arrived() const { return arrived_; }
  index_t capacity() const { return ext_[2]; }
  /// Memory of the rows, without that of the layers.
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (auto const& v : values_) sum += v.bytes();
    return sum;
  }

 private:
  enum class row_state : char { absent, waiting, done };
  /// Where a layer stands; rows are those of its input.
  struct progress {
    std::vector<row_state> rows;
    std::vector<index_t> ahead;
    index_t known = 0;             // leading rows that have come
    index_t first = 0, count = 0;  // all before `first` are done, none from `count` on has come
  };

  template <std::size_t I> void begin(extents<4> const& e) {
    if constexpr (I < sizeof...(Layers)) {
      auto& layer = std::get<I>(layers_);
      extents<4> const y = layer.output_extents(e);
      expects_extents("streaming_session: output of a layer", y, {e[0], -1, e[2], -1});
      layer.begin(*be_, e);
      values_[I + 1] = tensor<scalar, 4, space_t<B>>(be_->memory(), y);
      begin<I + 1>(y);
    }
  }

  /// Rows of the input of layer I are there.
  template <std::size_t I> void arrive(index_range r) {
    if constexpr (I == sizeof...(Layers)) {
      emitted_.push_back(r);
    } else {
      progress& p = progress_[I];
      index_t const n = r.last - r.first;
      index_t* const ahead = p.ahead.data() + r.first;
      auto frame = be_->scope();
      std::get<I>(layers_).take(*be_, r.first, slice(values_[I].cview(), 2, r.first, n),
                                view<index_t, 1, host_space>(ahead, {n}));
      for (index_t t = 0; t < n; ++t) {
        if (ahead[t] > capacity()) ahead[t] = capacity();
        at(p, r.first + t) = row_state::waiting;
      }
      if (r.last > p.count) p.count = r.last;
    }
  }

  static row_state& at(progress& p, index_t t) { return p.rows[static_cast<std::size_t>(t)]; }
  bool computable(progress& p, index_t t) const {
    if (at(p, t) != row_state::waiting) return false;
    index_t const end = t + 1 + p.ahead[static_cast<std::size_t>(t)];
    return p.known >= (finished_ && end > arrived_ ? arrived_ : end);
  }

  /// Computes what layer I and those above it can.
  template <std::size_t I> void advance() {
    if constexpr (I < sizeof...(Layers)) {
      progress& p = progress_[I];
      while (p.known < p.count && at(p, p.known) != row_state::absent) ++p.known;
      for (index_t t = p.first; t < p.count; ++t) {
        if (!computable(p, t)) continue;
        index_range r{t, t + 1};
        while (r.last < p.count && computable(p, r.last)) ++r.last;
        run<I>(p, r);
        t = r.last - 1;
      }
      while (p.first < p.count && at(p, p.first) == row_state::done) ++p.first;
      advance<I + 1>();
    }
  }

  template <std::size_t I> void run(progress& p, index_range r) {
    index_t const n = r.last - r.first;
    {
      auto frame = be_->scope();
      row_block const rows{r.first, p.known, {p.ahead.data() + r.first, smx::extents<2>{1, n}}};
      std::get<I>(layers_).run(*be_, rows, slice(values_[I].cview(), 2, r.first, n),
                               slice(values_[I + 1].view(), 2, r.first, n));
    }
    for (index_t t = r.first; t < r.last; ++t) at(p, t) = row_state::done;
    arrive<I + 1>(r);
  }

  B* be_;
  std::tuple<Layers...> layers_;
  extents<4> ext_;
  std::array<progress, sizeof...(Layers)> progress_;
  std::array<tensor<scalar, 4, space_t<B>>, sizeof...(Layers) + 1> values_;  // the input, then each output
  std::vector<index_range> emitted_;
  index_t arrived_ = 0;
  bool finished_ = false;
};

}  // namespace smx
