// The two loops of area.cpp for processors with AVX2: two pixels at a time.
#pragma once

// area_pixel is a pixel's channels as floats, and one lane that means nothing.
typedef float area_pixel __attribute__((vector_size(16)));

// area_avx2_can says whether this processor has it, and so many taps a pixel are had.
bool area_avx2_can(int width);

// area_avx2_across shrinks a source row of sw pixels: destination pixel d is the sum of
// width source pixels from first[d] on, each with its weight; doubled are the weights
// as area_avx2_double lays them out. It returns how many of dw pixels it did: the last
// ones are left over where it would read beyond the row.
int area_avx2_across(const unsigned char *from, int sw, const int *first, int width, const float *doubled, area_pixel *to, int dw);

// area_avx2_double lays width weights a pixel out for two pixels at a time, in 8 *
// width floats for each two of dw.
void area_avx2_double(const float *weights, int width, float *doubled, int dw);

// area_avx2_down sums n shrunk rows up, each with its weight, rounds half to even, and
// writes three bytes a pixel, the first and the third exchanged if swap. It returns how
// many of dw pixels it did.
int area_avx2_down(const area_pixel *const *rows, const float *weights, int n, unsigned char *to, int dw, bool swap);
