// The two loops of area.cpp for processors with AVX2: two pixels at a time. Sums are
// made in the order of the loops there, and nothing is multiplied and added in one
// rounding, so the answers are the same to the last bit.
#include "area_avx2.h"

#ifdef __x86_64__

#include <immintrin.h>

#include <cstring>

namespace {

// group is how many pixels of three bytes a register of 16 holds.
const int group = 5;

// across does two destination pixels at a time, of width taps each: a register holds
// the first five source pixels of either, which are taken out one after the other.
template <int width>
__attribute__((target("avx2"))) int across(const unsigned char *from, int sw, const int *first, const float *doubled, area_pixel *to, int dw) {
  const char z = -1;  // a byte of zero
  const __m128i one[group] = {
      _mm_setr_epi8(0, z, z, z, 1, z, z, z, 2, z, z, z, z, z, z, z),
      _mm_setr_epi8(3, z, z, z, 4, z, z, z, 5, z, z, z, z, z, z, z),
      _mm_setr_epi8(6, z, z, z, 7, z, z, z, 8, z, z, z, z, z, z, z),
      _mm_setr_epi8(9, z, z, z, 10, z, z, z, 11, z, z, z, z, z, z, z),
      _mm_setr_epi8(12, z, z, z, 13, z, z, z, 14, z, z, z, z, z, z, z),
  };
  __m256i take[group];
  for (int i = 0; i < group; i++) take[i] = _mm256_broadcastsi128_si256(one[i]);
  const int reach = (width - 1) / group * 3 * group + 16;  // bytes that are read from a first pixel on
  int d = 0;
  for (; d + 1 < dw && 3 * first[d + 1] + reach <= 3 * sw; d += 2, doubled += 8 * width) {
    const unsigned char *const a = from + 3 * first[d], *const b = from + 3 * first[d + 1];
    __m256 v = _mm256_setzero_ps();
#pragma GCC unroll 10  // -O2 unrolls nothing, and divides by five at each tap
    for (int i = 0; i < width; i++) {
      const int o = i / group * 3 * group;
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(a + o))),
                                                   _mm_loadu_si128(reinterpret_cast<const __m128i *>(b + o)), 1);
      const __m256 p = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, take[i % group]));
      v = _mm256_add_ps(v, _mm256_mul_ps(p, _mm256_loadu_ps(doubled + 8 * i)));
    }
    _mm256_storeu_ps(reinterpret_cast<float *>(to + d), v);
  }
  return d;
}

typedef int loop(const unsigned char *, int, const int *, const float *, area_pixel *, int);

// loops are by the number of taps, beginning with 1.
loop *const loops[] = {across<1>, across<2>, across<3>, across<4>, across<5>, across<6>, across<7>, across<8>, across<9>, across<10>};

}  // namespace

bool area_avx2_can(int width) {
  const int most = sizeof loops / sizeof loops[0];
  return width >= 1 && width <= most && __builtin_cpu_supports("avx2");
}

int area_avx2_across(const unsigned char *from, int sw, const int *first, int width, const float *doubled, area_pixel *to, int dw) {
  return loops[width - 1](from, sw, first, doubled, to, dw);
}

void area_avx2_double(const float *weights, int width, float *doubled, int dw) {
  for (int d = 0; d + 1 < dw; d += 2)
    for (int i = 0; i < width; i++)
      for (int lane = 0; lane < 8; lane++) *doubled++ = weights[(d + lane / 4) * width + i];
}

__attribute__((target("avx2"))) int area_avx2_down(const area_pixel *const *rows, const float *weights, int n, unsigned char *to, int dw, bool swap) {
  const char z = -1;
  const char f = swap ? 8 : 0, t = swap ? 0 : 8;  // where the first and the third byte stand
  const __m256i low = _mm256_setr_epi8(f, 4, t, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, f, 4, t, z, z, z, z, z, z, z, z, z, z);
  const __m256i high = _mm256_setr_epi8(z, z, z, z, z, z, f, 4, t, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, z, f, 4, t, z, z, z, z);
  const __m256 up = _mm256_set1_ps(8388608);  // 2^23: above it floats have no fraction
  int x = 0;
  for (; x + 4 <= dw; x += 4) {
    __m256 a = _mm256_setzero_ps(), b = a;
    for (int i = 0; i < n; i++) {
      const float *const p = reinterpret_cast<const float *>(rows[i] + x);
      const __m256 w = _mm256_broadcast_ss(weights + i);
      a = _mm256_add_ps(a, _mm256_mul_ps(_mm256_loadu_ps(p), w));
      b = _mm256_add_ps(b, _mm256_mul_ps(_mm256_loadu_ps(p + 8), w));
    }
    const __m256i bytes = _mm256_or_si256(_mm256_shuffle_epi8(_mm256_castps_si256(_mm256_add_ps(a, up)), low),
                                          _mm256_shuffle_epi8(_mm256_castps_si256(_mm256_add_ps(b, up)), high));
    const __m128i all = _mm_or_si128(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    unsigned char twelve[16];
    _mm_storeu_si128(reinterpret_cast<__m128i *>(twelve), all);
    std::memcpy(to + 3 * x, twelve, 12);
  }
  return x;
}

#else

bool area_avx2_can(int) { return false; }
int area_avx2_across(const unsigned char *, int, const int *, int, const float *, area_pixel *, int) { return 0; }
void area_avx2_double(const float *, int, float *, int) {}
int area_avx2_down(const area_pixel *const *, const float *, int, unsigned char *, int, bool) { return 0; }

#endif
