// The C side of the door to libLiteRt.so: what of LiteRT 2.3.0's C API the agent
// uses, declared by ourselves from its documentation, and resolved at run time.
//
// Each lrt_… function calls the LiteRT function of the same name and returns its
// status. While it runs, what the library prints is held back: after a success
// warnings go to the standard error, after a failure everything is kept for
// lrt_last_log, because the reason of a failure stands nowhere else.
#ifndef EDGE_AGENT_LITERT_SHIM_H
#define EDGE_AGENT_LITERT_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LRT_MAX_RANK = 8 };

// LiteRtLayout: a word of bit fields (the rank in the low 7 bits, then "has
// strides"), then the dimensions, of which those below 0 are dynamic.
typedef struct {
  uint32_t rank;
  int32_t dimensions[LRT_MAX_RANK];
  uint32_t strides[LRT_MAX_RANK];
} lrt_layout;

// LiteRtRankedTensorType.
typedef struct {
  int32_t element_type;
  lrt_layout layout;
} lrt_tensor_type;

// LiteRtQuantizationPerTensor.
typedef struct {
  float scale;
  int64_t zero_point;
} lrt_per_tensor;

// LiteRtQuantizationPerChannel.
typedef struct {
  int32_t quantized_dimension;
  uint64_t num_channels;
  float *scales;
  int64_t *zero_points;
} lrt_per_channel;

_Static_assert(sizeof(lrt_layout) == 68, "LiteRtLayout");
_Static_assert(sizeof(lrt_tensor_type) == 72, "LiteRtRankedTensorType");
_Static_assert(sizeof(lrt_per_tensor) == 16, "LiteRtQuantizationPerTensor");
_Static_assert(sizeof(lrt_per_channel) == 32, "LiteRtQuantizationPerChannel");

// lrt_side says which end of the model a tensor is at.
typedef enum { LRT_INPUT = 0, LRT_OUTPUT = 1 } lrt_side;

typedef struct lrt_library lrt_library;

// lrt_open loads the library at path. On failure it returns NULL with the reason
// in error. A loaded library is never unloaded: its thread pools and thread-local
// destructors do not survive that.
lrt_library *lrt_open(const char *path, char *error, size_t error_size);

// lrt_table_entries is the number of entries of the library's function table,
// which only ever grows by whole releases and so tells its version; 0 when it has
// none (LiteRT before 2.2).
size_t lrt_table_entries(const lrt_library *l);

// lrt_missing is the first needed symbol that the library lacks, or NULL.
const char *lrt_missing(const lrt_library *l);

// lrt_free forgets l; the library stays loaded.
void lrt_free(lrt_library *l);

// lrt_last_log copies what the library printed during the last call that failed.
void lrt_last_log(char *text, size_t size);

// lrt_die_by_signal makes a crash inside the library, and a deadly signal from
// outside, end the process by that signal, after the held-back log, instead of a
// dump of Go's stacks. For workers.
void lrt_die_by_signal(void);

// The bits of LiteRtHwAccelerators.
enum { LRT_CPU = 1, LRT_GPU = 2 };

// lrt_create_environment makes an environment in which these accelerators are
// registered; that of the GPU is loaded from a library in folder, which may be NULL.
int lrt_create_environment(lrt_library *l, int accelerators, const char *folder, void **env);
void lrt_destroy_environment(lrt_library *l, void *env);

int lrt_create_model_from_fd(lrt_library *l, void *env, int fd, size_t size, void **model);
void lrt_destroy_model(lrt_library *l, void *model);

// lrt_can_load says in error why the library at path cannot be loaded, and loads it
// otherwise.
bool lrt_can_load(const char *path, char *error, size_t error_size);

// lrt_has_gpu says whether an accelerator for GPUs is registered.
bool lrt_has_gpu(lrt_library *l, void *env);

// lrt_create_options makes compile options for these accelerators. The texts are the
// TOML of XNNPACK's options, of the GPU's and of the runtime's own; the last two may
// be NULL.
int lrt_create_options(lrt_library *l, int accelerators, const char *xnnpack, const char *gpu, const char *runtime, void **options);
void lrt_destroy_options(lrt_library *l, void *options);

int lrt_create_compiled_model(lrt_library *l, void *env, void *model, void *options, void **compiled);
void lrt_destroy_compiled_model(lrt_library *l, void *compiled);

// lrt_accelerated says whether all of the model runs on accelerators other than the
// CPU, or at least on delegates of some kind.
int lrt_accelerated(lrt_library *l, void *compiled, bool *off_cpu, bool *delegated);

// lrt_partition copies what the library last printed of how a graph was divided
// between GPU and CPU; empty when it was not.
void lrt_partition(char *text, size_t size);

int lrt_get_signature(lrt_library *l, void *model, void **signature);
int lrt_get_num_tensors(lrt_library *l, void *signature, lrt_side side, size_t *n);
int lrt_get_tensor(lrt_library *l, void *signature, lrt_side side, size_t i, void **tensor);
int lrt_get_tensor_name(lrt_library *l, void *tensor, const char **name);
int lrt_get_tensor_type(lrt_library *l, void *tensor, lrt_tensor_type *type);
int lrt_get_quantization_id(lrt_library *l, void *tensor, int *id);
int lrt_get_per_tensor(lrt_library *l, void *tensor, lrt_per_tensor *q);
int lrt_get_per_channel(lrt_library *l, void *tensor, lrt_per_channel *q);

int lrt_resize_input(lrt_library *l, void *compiled, size_t i, const int *dims, size_t rank);
int lrt_get_output_layouts(lrt_library *l, void *compiled, size_t n, lrt_layout *layouts);

// lrt_create_buffer wraps memory that stays the caller's and outlives the buffer.
int lrt_create_buffer(lrt_library *l, const lrt_tensor_type *type, void *memory, size_t size, void **buffer);
void lrt_destroy_buffer(lrt_library *l, void *buffer);

int lrt_run(lrt_library *l, void *compiled, size_t n_in, void **in, size_t n_out, void **out);

// lrt_event is LiteRT's ProfiledEventData: times in microseconds, what memory was in
// use before and after, and by type what metadata means.
typedef struct {
  const char *tag; // the profiler's, until it is reset
  int32_t type;
  uint64_t start, elapsed;
  int64_t memory[6];
  uint64_t metadata[2]; // an operator's: its index in the graph
  int32_t source;
} lrt_event;

_Static_assert(sizeof(lrt_event) == 104, "ProfiledEventData");

// The types of events that are operators: of the interpreter, and of a delegate.
enum { LRT_OPERATOR = 1 << 1, LRT_DELEGATE_OPERATOR = 1 << 2, LRT_DELEGATE_PROFILED = 1 << 3 };

// lrt_profiler_of gives the profiler of a model that was compiled with one, else
// NULL. It notes events between start and stop, of the runs since it was reset.
int lrt_profiler_of(lrt_library *l, void *compiled, void **profiler);
int lrt_start_profiler(lrt_library *l, void *profiler);
int lrt_stop_profiler(lrt_library *l, void *profiler);
int lrt_num_events(lrt_library *l, void *profiler, int *n);
int lrt_get_events(lrt_library *l, void *profiler, int n, lrt_event *events);

#endif
