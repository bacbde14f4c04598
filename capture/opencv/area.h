// The C face of area.cpp.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// ea_area shrinks pictures of one size to another by pixel area.
typedef struct ea_area ea_area;

// ea_area_new prepares for pictures of sw x sh pixels that become dw x dh; NULL when
// these sizes are cv::resize's (it enlarges, or divides by a whole number, in other
// ways) or memory is short. plain leaves out what only some processors have. The
// caller frees it.
ea_area *ea_area_new(int sw, int sh, int dw, int dh, int plain);
void ea_area_free(ea_area *a);

// ea_area_run shrinks a cv::Mat of three bytes a pixel into another of the plan's
// size; 0, or -1 when a Mat is not what the plan is for. swap exchanges the first
// and the third channel. table, when not NULL, replaces every byte afterwards:
// table[256 * channel of dst + byte].
int ea_area_run(ea_area *a, const void *src, void *dst, int swap, const unsigned char *table);

#ifdef __cplusplus
}
#endif
