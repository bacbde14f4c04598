// Shrinking by pixel area (cv::INTER_AREA), channel order and the tensor's table in
// one pass: cv::resize takes a pixel's three channels one after the other, and was
// the largest part of what a frame cost.
//
// The answer is cv::resize's to the last bit: the same weights (computeResizeAreaTab
// in OpenCV's modules/imgproc/src/resize.cpp), the same sums of floats in the same
// order, the same rounding; four lanes at a time, of which three are used, and with
// AVX2 twice that.
#include "area.h"
#include "area_avx2.h"

#include <opencv2/core.hpp>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

namespace {

typedef area_pixel lanes;
typedef unsigned int bits __attribute__((vector_size(16)));
typedef unsigned short halves __attribute__((vector_size(16)));
typedef unsigned char bytes __attribute__((vector_size(16)));
typedef int words __attribute__((vector_size(16)));

// tap is what a source pixel gives a destination pixel.
struct tap {
  int from, to;
  float weight;
};

std::vector<tap> taps(int from, int to) {
  // As cv::resize comes to it, rounding included.
  const double scale = 1. / (static_cast<double>(to) / from);
  std::vector<tap> all;
  for (int d = 0; d < to; d++) {
    const double begin = d * scale, end = begin + scale;
    const double cell = std::min(scale, from - begin);
    const int last = std::min(static_cast<int>(std::floor(end)), from - 1);
    const int first = std::min(static_cast<int>(std::ceil(begin)), last);
    if (first - begin > 1e-3)
      all.push_back({first - 1, d, static_cast<float>((first - begin) / cell)});
    for (int s = first; s < last; s++)
      all.push_back({s, d, static_cast<float>(1. / cell)});
    if (end - last > 1e-3)
      all.push_back({last, d, static_cast<float>(std::min(std::min(end - last, 1.), cell) / cell)});
  }
  return all;
}

// whole says whether from is a whole multiple of to, which cv::resize does otherwise.
bool whole(int from, int to) {
  const double scale = 1. / (static_cast<double>(to) / from);
  return std::abs(scale - static_cast<int>(std::lrint(scale))) < DBL_EPSILON;
}

// widen makes floats of four bytes by two interleavings with zeros, which every
// processor has as one step each; a conversion of the four goes through registers
// one by one where the compiler may not assume newer steps.
inline lanes widen(std::uint32_t four) {
  const bytes b = reinterpret_cast<bytes>(bits{four, 0, 0, 0}), none = {};
  const halves h = reinterpret_cast<halves>(
      __builtin_shuffle(b, none, bytes{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}));
  const words w = reinterpret_cast<words>(__builtin_shuffle(h, halves{}, halves{0, 8, 1, 9, 2, 10, 3, 11}));
  return __builtin_convertvector(w, lanes);
}

inline lanes pixel(const unsigned char *p) {
  std::uint32_t four;
  std::memcpy(&four, p, 4);
  return widen(four);
}

// edge is pixel without the byte behind it, which may not be ours.
inline lanes edge(const unsigned char *p) {
  const lanes v = {static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), 0};
  return v;
}

// axis is taps by destination: each has the same number of them, one source pixel
// after the other, filled up with weights of zero, which change no sum. So the loops
// over them have no branch that a processor could guess wrongly.
struct axis {
  int width;                  // taps a destination pixel
  std::vector<int> first;     // of each destination pixel, the source pixel of its first tap
  std::vector<float> weight;  // width of them a destination pixel

  axis(int from, int to) : width(0), first(to) {
    const std::vector<tap> all = taps(from, to);
    std::vector<int> count(to), begin(to);
    for (const tap &t : all) width = std::max(width, ++count[t.to]);
    weight.resize(static_cast<size_t>(width) * to);
    int at = 0;
    for (int d = 0; d < to; at += count[d++]) {
      // The last ones are moved back so that none of the zeros lies past the end.
      first[d] = std::min(all[at].from, from - width);
      for (int i = 0; i < count[d]; i++)
        weight[static_cast<size_t>(d) * width + (all[at + i].from - first[d])] = all[at + i].weight;
    }
  }
};

}  // namespace

struct ea_area {
  int sw, sh, dw, dh;
  axis across, down;
  std::vector<lanes> rows;  // shrunk source rows: source row y is row y % down.width
  std::vector<int> holds;   // the source row that each of them is
  std::vector<const lanes *> from;  // those that the destination row in hand is made of
  std::vector<float> doubled;       // the weights across for AVX2; empty: it is not used

  ea_area(int sw, int sh, int dw, int dh, bool plain)
      : sw(sw), sh(sh), dw(dw), dh(dh), across(sw, dw), down(sh, dh),
        rows(static_cast<size_t>(down.width) * dw), holds(down.width, -1), from(down.width) {
    if (plain || !area_avx2_can(across.width)) return;
    doubled.resize(static_cast<size_t>(dw / 2 + 1) * 8 * across.width);
    area_avx2_double(across.weight.data(), across.width, doubled.data(), dw);
  }

  // shrink makes the destination pixels from..to of a shrunk row; load reads a pixel.
  template <int width, lanes load(const unsigned char *)>
  void shrink(lanes *row, const unsigned char *s, int from, int to) const {
    const int n = width > 0 ? width : across.width;
    const float *w = across.weight.data() + static_cast<size_t>(from) * n;
    for (int d = from; d < to; d++, w += n) {
      const unsigned char *p = s + 3 * across.first[d];
      lanes v = {0, 0, 0, 0};
#pragma GCC unroll 4  // -O2 unrolls nothing
      for (int i = 0; i < n; i++) v += load(p + 3 * i) * w[i];
      row[d] = v;
    }
  }

  // shrunk is source row y of the picture, shrunk; made when it is not there yet.
  template <int width>
  const lanes *shrunk(const cv::Mat &src, int y) {
    lanes *row = rows.data() + static_cast<size_t>(y % down.width) * dw;
    if (holds[y % down.width] != y) {
      holds[y % down.width] = y;
      // Only the picture's last pixel has no byte behind it that may be read with it.
      int whole = dw, done = 0;
      while (whole > 0 && across.first[whole - 1] + across.width >= sw) whole--;
      if (!doubled.empty())
        done = area_avx2_across(src.ptr(y), sw, across.first.data(), across.width, doubled.data(), row, whole);
      shrink<width, pixel>(row, src.ptr(y), done, whole);
      shrink<width, edge>(row, src.ptr(y), whole, dw);
    }
    return row;
  }

  // mix makes a row of dst of source rows, width of them: their sums, rounded half to
  // even as cv::saturate_cast does.
  template <int width>
  void mix(const float *w, unsigned char *d, bool swap, const unsigned char *table) const {
    const lanes whole = {8388608, 8388608, 8388608, 8388608};  // 2^23: above it floats have no fraction
    const int n = width > 0 ? width : down.width, first = swap ? 2 : 0, third = 2 - first;
    int x = 0;
    if (!doubled.empty()) {
      x = area_avx2_down(from.data(), w, n, d, dw, swap);
      if (table != nullptr) look_up(d, x, table);
      d += 3 * x;
    }
    for (; x < dw; x++, d += 3) {
      lanes v = {0, 0, 0, 0};
#pragma GCC unroll 4
      for (int i = 0; i < n; i++) v += from[i][x] * w[i];
      const bits b = reinterpret_cast<bits>(v + whole);
      const unsigned char p = static_cast<unsigned char>(b[0]), q = static_cast<unsigned char>(b[1]), r = static_cast<unsigned char>(b[2]);
      if (table != nullptr)
        d[first] = table[256 * first + p], d[1] = table[256 + q], d[third] = table[256 * third + r];
      else
        d[first] = p, d[1] = q, d[third] = r;
    }
  }

  // look_up replaces every byte of n pixels by the table's.
  static void look_up(unsigned char *d, int n, const unsigned char *table) {
    for (unsigned char *const end = d + 3 * n; d != end; d += 3)
      d[0] = table[d[0]], d[1] = table[256 + d[1]], d[2] = table[512 + d[2]];
  }

  // run is for as many taps across and down; 0: as many as there are.
  template <int w, int h>
  void run(const cv::Mat &src, cv::Mat &dst, bool swap, const unsigned char *table) {
    std::fill(holds.begin(), holds.end(), -1);
    for (int y = 0; y < dh; y++) {
      for (int i = 0; i < down.width; i++) from[i] = shrunk<w>(src, down.first[y] + i);
      mix<h>(down.weight.data() + static_cast<size_t>(y) * down.width, dst.ptr(y), swap, table);
    }
  }
};

ea_area *ea_area_new(int sw, int sh, int dw, int dh, int plain) {
  if (dw < 1 || dh < 1 || sw < dw || sh < dh || (whole(sw, dw) && whole(sh, dh))) return nullptr;
  try {
    return new ea_area(sw, sh, dw, dh, plain != 0);
  } catch (const std::bad_alloc &) {
    return nullptr;
  }
}

void ea_area_free(ea_area *a) { delete a; }

int ea_area_run(ea_area *a, const void *src, void *dst, int swap, const unsigned char *table) {
  const cv::Mat &from = *static_cast<const cv::Mat *>(src);
  cv::Mat &to = *static_cast<cv::Mat *>(dst);
  if (from.type() != CV_8UC3 || to.type() != CV_8UC3 || from.cols != a->sw || from.rows != a->sh || to.cols != a->dw || to.rows != a->dh)
    return -1;
  // What most pictures need is compiled for its very number of taps.
  if (a->across.width == 3 && a->down.width == 3)
    a->run<3, 3>(from, to, swap != 0, table);
  else if (a->across.width == 4 && a->down.width == 4)
    a->run<4, 4>(from, to, swap != 0, table);
  else
    a->run<0, 0>(from, to, swap != 0, table);
  return 0;
}
