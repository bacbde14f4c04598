// The C side of the door to a TFLite C library; shim.h says what each function does.

#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- What TFLite's headers say (tensorflow/lite/c/common.h), as far as it is used.
// The beginnings of these structures are the same from 2.9 to 2.21.

typedef struct { // TfLiteIntArray
  int size;
  int data[];
} int_array;

typedef struct context context; // TfLiteContext
typedef struct node node;       // TfLiteNode
struct context {
  size_t tensors_size;
  int (*get_execution_plan)(context *, int_array **);
  void *tensors, *impl;
  void *resize_tensor, *report_error, *add_tensors;
  int (*get_node_and_registration)(context *, int, node **, void **registration);
};
struct node {
  void *inputs, *outputs, *intermediates, *temporaries, *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  void *delegate;
};

typedef struct delegate delegate; // TfLiteDelegate
struct delegate {
  void *data;
  int (*prepare)(context *, delegate *);
};

typedef struct { // TfLiteQuantizationParams
  float scale;
  int32_t zero_point;
} quant_params;

// TfLiteXNNPackDelegateOptions: that of 2.9, and anything above 16 bytes.
typedef struct {
  int32_t num_threads;
  uint32_t flags;
  void *weights_cache;
} xnnpack_small;
_Static_assert(sizeof(xnnpack_small) == 16, "returned in registers");
typedef struct {
  int32_t num_threads;
  char unknown[508];
} xnnpack_big;

// TfLiteGpuDelegateOptionsV2: the precision stands first in all versions, and it
// was never small enough for registers.
typedef struct {
  int32_t is_precision_loss_allowed;
  char unknown[508];
} gpu_options;

#define FUNCTIONS(F)                                                                       \
  F(const char *, Version, (void))                                                         \
  F(void *, ModelCreate, (const void *, size_t))                                           \
  F(void, ModelDelete, (void *))                                                           \
  F(void *, InterpreterOptionsCreate, (void))                                              \
  F(void, InterpreterOptionsDelete, (void *))                                              \
  F(void, InterpreterOptionsSetNumThreads, (void *, int32_t))                              \
  F(void, InterpreterOptionsAddDelegate, (void *, delegate *))                             \
  F(void, InterpreterOptionsSetErrorReporter,                                              \
    (void *, void (*)(void *, const char *, va_list), void *))                             \
  F(void *, InterpreterCreate, (const void *, const void *))                               \
  F(void, InterpreterDelete, (void *))                                                     \
  F(int, InterpreterAllocateTensors, (void *))                                             \
  F(int, InterpreterInvoke, (void *))                                                      \
  F(int32_t, InterpreterGetInputTensorCount, (const void *))                               \
  F(void *, InterpreterGetInputTensor, (const void *, int32_t))                            \
  F(int32_t, InterpreterGetOutputTensorCount, (const void *))                              \
  F(void *, InterpreterGetOutputTensor, (const void *, int32_t))                           \
  F(int, TensorType, (const void *))                                                       \
  F(int32_t, TensorNumDims, (const void *))                                                \
  F(int32_t, TensorDim, (const void *, int32_t))                                           \
  F(size_t, TensorByteSize, (const void *))                                                \
  F(void *, TensorData, (const void *))                                                    \
  F(const char *, TensorName, (const void *))                                              \
  F(quant_params, TensorQuantizationParams, (const void *))

struct tfl_library {
#define MEMBER(result, name, args) result(*name) args;
  FUNCTIONS(MEMBER)
#undef MEMBER
  void *handle;
  const char *missing;
};

struct tfl_delegate {
  delegate *d;
  void (*destroy)(delegate *);
  int (*prepare)(context *, delegate *); // its own
  int taken, of;
  tfl_delegate *next;
};

// ---- Errors ----

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[8 << 10]; // a line a report; more than the room is lost: the first tell most
static size_t kept_size;

static void keep(const char *text) {
  pthread_mutex_lock(&log_lock);
  int n = snprintf(kept + kept_size, sizeof kept - kept_size, "%s\n", text);
  if (n > 0) kept_size += (size_t)n;
  if (kept_size > sizeof kept - 1) kept_size = sizeof kept - 1;
  pthread_mutex_unlock(&log_lock);
}

static void report(void *user, const char *format, va_list args) {
  (void)user;
  char line[1024];
  vsnprintf(line, sizeof line, format, args);
  keep(line);
}

void tfl_forget(void) {
  pthread_mutex_lock(&log_lock);
  kept_size = 0;
  kept[0] = 0;
  pthread_mutex_unlock(&log_lock);
}

void tfl_last_log(char *text, size_t size) {
  pthread_mutex_lock(&log_lock);
  snprintf(text, size, "%s", kept);
  pthread_mutex_unlock(&log_lock);
}

// ---- The library ----

tfl_library *tfl_open(const char *path, char *error, size_t error_size) {
  void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    const char *why = dlerror();
    snprintf(error, error_size, "%s", why ? why : "no reason given");
    return NULL;
  }
  tfl_library *l = calloc(1, sizeof *l);
  if (!l) {
    snprintf(error, error_size, "out of memory");
    return NULL;
  }
  l->handle = h;
#define RESOLVE(result, name, args)                   \
  l->name = (result(*) args)dlsym(h, "TfLite" #name); \
  if (!l->name && !l->missing) l->missing = "TfLite" #name;
  FUNCTIONS(RESOLVE)
#undef RESOLVE
  return l;
}

const char *tfl_missing(const tfl_library *l) { return l->missing; }
const char *tfl_version(const tfl_library *l) { return l->Version ? l->Version() : ""; }
void tfl_free(tfl_library *l) { free(l); }

// ---- Delegates ----

// The delegates that there are, for watch, which is given the library's own only.
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static tfl_delegate *all;

static tfl_delegate *find(const delegate *d) {
  pthread_mutex_lock(&all_lock);
  tfl_delegate *t = all;
  while (t && t->d != d) t = t->next;
  pthread_mutex_unlock(&all_lock);
  return t;
}

// watch stands before a delegate's own prepare and counts what that took.
static int watch(context *c, delegate *d) {
  tfl_delegate *t = find(d);
  if (!t) return 1;
  int_array *plan;
  int before = c->get_execution_plan(c, &plan) == 0 ? plan->size : -1;
  int status = t->prepare(c, d);
  if (status != 0 || before < 0 || c->get_execution_plan(c, &plan) != 0) return status;
  int left = 0;
  for (int i = 0; i < plan->size; i++) {
    node *n;
    void *registration;
    if (c->get_node_and_registration(c, plan->data[i], &n, &registration) != 0) return status;
    if (n->delegate != d) left++;
  }
  // A graph's control-flow subgraphs are prepared one by one; they add up.
  t->of = (t->of < 0 ? 0 : t->of) + before;
  t->taken = (t->taken < 0 ? 0 : t->taken) + before - left;
  return status;
}

static tfl_made made(delegate *d, void (*destroy)(delegate *), tfl_delegate **out) {
  if (!d) return TFL_NULL;
  tfl_delegate *t = calloc(1, sizeof *t);
  if (!t) {
    destroy(d);
    return TFL_NO_MEMORY;
  }
  *t = (tfl_delegate){.d = d, .destroy = destroy, .prepare = d->prepare, .taken = -1, .of = -1};
  if (t->prepare) d->prepare = watch; // delegates of newer kinds have none
  pthread_mutex_lock(&all_lock);
  t->next = all;
  all = t;
  pthread_mutex_unlock(&all_lock);
  *out = t;
  return TFL_OK;
}

static void *load(const char *path) {
  void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    const char *why = dlerror();
    keep(why ? why : "no reason given");
  }
  return h;
}

tfl_made tfl_create_plugin(const char *path, char **keys, char **values, size_t n, tfl_delegate **d) {
  void *h = load(path);
  if (!h) return TFL_NO_LIBRARY;
  delegate *(*create)(char **, char **, size_t, void (*)(const char *)) = dlsym(h, "tflite_plugin_create_delegate");
  void (*destroy)(delegate *) = dlsym(h, "tflite_plugin_destroy_delegate");
  if (!create || !destroy) return TFL_NO_ENTRY;
  return made(create(keys, values, n, keep), destroy, d);
}

tfl_made tfl_create_gpu(const char *path, int allow_fp16, tfl_delegate **d) {
  void *h = load(path);
  if (!h) return TFL_NO_LIBRARY;
  gpu_options (*defaults)(void) = dlsym(h, "TfLiteGpuDelegateOptionsV2Default");
  delegate *(*create)(const gpu_options *) = dlsym(h, "TfLiteGpuDelegateV2Create");
  void (*destroy)(delegate *) = dlsym(h, "TfLiteGpuDelegateV2Delete");
  if (!defaults || !create || !destroy) return TFL_NO_ENTRY;
  gpu_options o = defaults();
  o.is_precision_loss_allowed = allow_fp16;
  return made(create(&o), destroy, d);
}

tfl_made tfl_create_xnnpack(tfl_library *l, tfl_xnnpack_options which, int threads, uint32_t flags, tfl_delegate **d) {
  void *defaults = dlsym(l->handle, "TfLiteXNNPackDelegateOptionsDefault");
  delegate *(*create)(const void *) = dlsym(l->handle, "TfLiteXNNPackDelegateCreate");
  void (*destroy)(delegate *) = dlsym(l->handle, "TfLiteXNNPackDelegateDelete");
  if (!defaults || !create || !destroy) return TFL_NO_ENTRY;
  switch (which) {
  case TFL_XNNPACK_SMALL: {
    xnnpack_small o = ((xnnpack_small(*)(void))defaults)();
    o.num_threads = threads;
    o.flags |= flags;
    return made(create(&o), destroy, d);
  }
  case TFL_XNNPACK_BIG: {
    xnnpack_big o = ((xnnpack_big(*)(void))defaults)();
    o.num_threads = threads;
    return made(create(&o), destroy, d);
  }
  default:
    return made(create(NULL), destroy, d);
  }
}

void tfl_delegated(const tfl_delegate *d, int *taken, int *of) {
  *taken = d->taken;
  *of = d->of;
}

void tfl_destroy_delegate(tfl_delegate *d) {
  pthread_mutex_lock(&all_lock);
  for (tfl_delegate **p = &all; *p; p = &(*p)->next) {
    if (*p == d) {
      *p = d->next;
      break;
    }
  }
  pthread_mutex_unlock(&all_lock);
  if (d->prepare) d->d->prepare = d->prepare;
  d->destroy(d->d);
  free(d);
}

// ---- Models ----

void *tfl_create_model(tfl_library *l, const void *data, size_t size) { return l->ModelCreate(data, size); }
void tfl_destroy_model(tfl_library *l, void *model) { l->ModelDelete(model); }

void *tfl_create_interpreter(tfl_library *l, void *model, int threads, tfl_delegate *d) {
  void *o = l->InterpreterOptionsCreate();
  if (!o) return NULL;
  l->InterpreterOptionsSetNumThreads(o, threads);
  l->InterpreterOptionsSetErrorReporter(o, report, NULL);
  if (d) l->InterpreterOptionsAddDelegate(o, d->d);
  void *i = l->InterpreterCreate(model, o);
  l->InterpreterOptionsDelete(o);
  return i;
}
void tfl_destroy_interpreter(tfl_library *l, void *interpreter) { l->InterpreterDelete(interpreter); }
int tfl_allocate_tensors(tfl_library *l, void *interpreter) { return l->InterpreterAllocateTensors(interpreter); }
int tfl_invoke(tfl_library *l, void *interpreter) { return l->InterpreterInvoke(interpreter); }

int tfl_num_tensors(tfl_library *l, void *interpreter, tfl_side side) {
  return (side == TFL_INPUT ? l->InterpreterGetInputTensorCount : l->InterpreterGetOutputTensorCount)(interpreter);
}
void *tfl_tensor(tfl_library *l, void *interpreter, tfl_side side, int i) {
  return (side == TFL_INPUT ? l->InterpreterGetInputTensor : l->InterpreterGetOutputTensor)(interpreter, i);
}

void tfl_describe(tfl_library *l, const void *tensor, tfl_info *info) {
  quant_params q = l->TensorQuantizationParams(tensor);
  *info = (tfl_info){
      .name = l->TensorName(tensor),
      .type = l->TensorType(tensor),
      .rank = l->TensorNumDims(tensor),
      .bytes = l->TensorByteSize(tensor),
      .scale = q.scale,
      .zero = q.zero_point,
  };
  for (int i = 0; i < info->rank && i < TFL_MAX_RANK; i++) info->dims[i] = l->TensorDim(tensor, i);
}

void *tfl_data(tfl_library *l, const void *tensor) { return l->TensorData(tensor); }
