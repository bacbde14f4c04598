// The C face of turbo.cpp.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// ea_turbo is a decoder of JPEGs, for one thread at a time.
typedef struct ea_turbo ea_turbo;

// ea_turbo_load loads TurboJPEG, once in a process: 1, or 0 where there is none.
int ea_turbo_load(void);

// ea_turbo_new makes a decoder; NULL where there is no TurboJPEG. The caller frees it.
ea_turbo *ea_turbo_new(void);
void ea_turbo_free(ea_turbo *t);

// ea_turbo_decode decodes a JPEG of size bytes into a cv::Mat, as 8-bit BGR, which
// keeps its memory where the picture before had the same size. 1, or 0 when the JPEG
// is damaged, has more than most pixels, or is of a kind that is left to OpenCV: the
// Mat then holds anything.
int ea_turbo_decode(ea_turbo *t, const unsigned char *jpeg, size_t size, long most, void *mat);

#ifdef __cplusplus
}
#endif
