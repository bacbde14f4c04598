// A TFLite delegate that misbehaves as its options say: the accelerator that one
// would rather not have. It takes the last operation of a graph and runs TFLite's
// own kernel for it, so that while nothing is wrong its answers are the CPU's bit
// for bit; with wrap=LIBRARY it instead stands before the XNNPACK delegate of that
// TFLite 2.9 library, which takes all it can.
//
// Options, all off by default; N counts the invokes of a model from 1:
//
//   absent=1            create gives NULL, as when the device is not there
//   create=abort|segfault|hang|exit   what create does instead of returning
//   fail-prepare=1      prepare fails
//   hang-prepare=1      prepare never returns
//   fail-invoke=N       the Nth invoke and all later ones fail
//   wrong-from=N        from the Nth on the answers are in reverse order
//   nan-from=N          from the Nth on the answers are NaN (floating point only)
//   drift-from=N        from the Nth on the answers move away, a twentieth each
//   fp16=STEPS          floating point is rounded to half, 8-bit values are up to STEPS off
//   hang-at=N           the Nth invoke never returns
//   abort-at=N  segfault-at=N  exit-at=N  corrupt-heap-at=N
//   sleep-ms=MS         every invoke takes so much longer
//   leak=BYTES          every invoke keeps so much more memory
//   recover-after=M     after M delegates were created it has none of these faults;
//   count-file=PATH     they are counted in this file, across processes; without it the variable
//                       EDGE_AGENT_TEST_LIFE says how manieth life of the worker this is
//   spare-checks=K      the first K invokes of each delegate are faultless and do not count
//   device=NAME         it needs this made-up device, which one process at a time can own, for as long as it lives
//   wrap=LIBRARY        see above; threads=T for it
//
// A process may hold several of these delegates, each with options and a count of its own.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// What tensorflow/lite/c/common.h of 2.9 says; the beginnings are the same in later ones.
typedef struct {
  int size;
  int data[];
} int_array;
typedef struct context context;
typedef struct delegate delegate;
typedef struct {
  int type;
  void *data;
  int_array *dims;
  float scale;
  int32_t zero;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  int quantization_type;
  void *quantization, *sparsity, *dims_signature;
} tensor;
typedef struct {
  int_array *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  delegate *delegate;
} node;
typedef struct {
  void *(*init)(context *, const char *, size_t);
  void (*free)(context *, void *);
  int (*prepare)(context *, node *);
  int (*invoke)(context *, node *);
  const char *(*profiling_string)(const context *, const node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *later[4]; // what versions after 2.9 have here; passed by value, so that they find zeros
} registration;
struct context {
  size_t tensors_size;
  int (*get_execution_plan)(context *, int_array **);
  tensor *tensors;
  void *impl;
  void *resize_tensor;
  void (*report_error)(context *, const char *, ...);
  void *add_tensors;
  int (*get_node_and_registration)(context *, int, node **, registration **);
  int (*replace)(context *, registration, const int_array *, delegate *);
};
struct delegate {
  void *data;
  int (*prepare)(context *, delegate *);
  void *copy_from, *copy_to, *free_handle;
  int64_t flags;
};
typedef struct { // TfLiteDelegateParams
  delegate *d;
  int_array *nodes, *inputs, *outputs;
} delegate_params;

enum { OK = 0, ERROR = 1 };
enum { FLOAT32 = 1, UINT8 = 3, INT8 = 9 };

typedef struct {
  bool absent, fail_prepare, hang_prepare;
  const char *create, *wrap, *count_file, *device;
  long fail_invoke, wrong_from, nan_from, drift_from, hang_at, abort_at, segfault_at, exit_at, corrupt_at;
  long fp16, sleep_ms, leak, recover_after, spare, threads;
} options;

// fault is a delegate with what it was told.
typedef struct fault {
  delegate *d;
  options o;
  long invokes;
  node *first; // of several kernels in one graph, the one that counts
  int device;  // the descriptor by which its device is owned; -1: none
  void *library;
  int (*xnnpack_prepare)(context *, delegate *);
  int (*xnnpack_invoke)(context *, node *);
  struct fault *next;
} fault;
static fault *all;
static void (*tell)(const char *);

static fault *of(const delegate *d) {
  fault *f = all;
  while (f && f->d != d) f = f->next;
  return f;
}

static void hang(void) {
  for (;;) pause();
}

static void segfault(void) { *(volatile int *)8 = 1; }

static void corrupt_heap(void) {
  char *p[8];
  for (int i = 0; i < 8; i++) p[i] = malloc(40);
  for (int i = 0; i < 8; i++) memset(p[i], 'A', 72);
  for (int i = 0; i < 8; i++) free(p[i]); // glibc notices and aborts
}

// half rounds to IEEE 754 half precision, to nearest even (11 significant bits).
static float half(float x) {
  int e;
  float m = frexpf(x, &e);
  if (!isfinite(x) || x == 0) return x;
  int bits = e < -13 ? 11 - (-13 - e) : 11;
  return ldexpf(nearbyintf(ldexpf(m, bits)), e - bits);
}

static size_t size_of(const tensor *t) {
  size_t n = 1;
  for (int i = 0; i < t->dims->size; i++) n *= (size_t)t->dims->data[i];
  return n ? t->bytes / n : t->bytes;
}

static void reverse(char *p, size_t n, size_t size) {
  char x[16];
  if (size > sizeof x) return;
  for (size_t i = 0; i < n / 2; i++) {
    memcpy(x, p + i * size, size);
    memcpy(p + i * size, p + (n - 1 - i) * size, size);
    memcpy(p + (n - 1 - i) * size, x, size);
  }
}

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }

// drift mixes each value with the one at the other end.
static void drift(tensor *t, size_t n, float k) {
  if (k > 1) k = 1;
  for (size_t i = 0; i < n / 2; i++) {
    size_t j = n - 1 - i;
    if (t->type == FLOAT32) {
      float *p = t->data, a = p[i], b = p[j];
      p[i] = a * (1 - k) + b * k;
      p[j] = b * (1 - k) + a * k;
    } else if (t->type == UINT8) {
      uint8_t *p = t->data, a = p[i], b = p[j];
      p[i] = (uint8_t)lrintf(a * (1 - k) + b * k);
      p[j] = (uint8_t)lrintf(b * (1 - k) + a * k);
    } else if (t->type == INT8) {
      int8_t *p = t->data, a = p[i], b = p[j];
      p[i] = (int8_t)lrintf(a * (1 - k) + b * k);
      p[j] = (int8_t)lrintf(b * (1 - k) + a * k);
    }
  }
}

static void coarsen(tensor *t, size_t n, long steps) {
  for (size_t i = 0; i < n; i++) {
    int off = (int)(i * 2654435761u >> 16) % (int)(2 * steps + 1) - (int)steps;
    if (t->type == FLOAT32) ((float *)t->data)[i] = half(((float *)t->data)[i]);
    if (t->type == UINT8) ((uint8_t *)t->data)[i] = (uint8_t)clamp(((uint8_t *)t->data)[i] + off, 0, 255);
    if (t->type == INT8) ((int8_t *)t->data)[i] = (int8_t)clamp(((int8_t *)t->data)[i] + off, -128, 127);
  }
}

// before is what happens ahead of the Nth run of a kernel.
static int before(const fault *f, context *c, long n) {
  const options o = f->o;
  if (o.sleep_ms) usleep((useconds_t)o.sleep_ms * 1000);
  if (o.leak) {
    static char *volatile last; // so that it is not optimised away
    last = malloc((size_t)o.leak);
    if (last) memset(last, 1, (size_t)o.leak);
  }
  if (o.hang_at && n == o.hang_at) hang();
  if (o.abort_at && n == o.abort_at) abort();
  if (o.segfault_at && n == o.segfault_at) segfault();
  if (o.exit_at && n == o.exit_at) exit(3);
  if (o.corrupt_at && n == o.corrupt_at) corrupt_heap();
  if (o.fail_invoke && n >= o.fail_invoke) {
    c->report_error(c, "fault: invoke %d fails as it was told to", (int)n);
    return ERROR;
  }
  return OK;
}

static void after(const fault *f, context *c, node *nd, long n) {
  const options o = f->o;
  for (int i = 0; i < nd->outputs->size; i++) {
    tensor *t = &c->tensors[nd->outputs->data[i]];
    size_t size = size_of(t), count = size ? t->bytes / size : 0;
    if (!t->data || !count) continue;
    if (o.fp16) coarsen(t, count, o.fp16);
    if (o.wrong_from && n >= o.wrong_from) reverse(t->data, count, size);
    if (o.drift_from && n >= o.drift_from) drift(t, count, 0.05f * (float)(n - o.drift_from + 1));
    if (o.nan_from && n >= o.nan_from && t->type == FLOAT32)
      for (size_t k = 0; k < count; k++) ((float *)t->data)[k] = NAN;
  }
}

// around runs a kernel with all that its options say.
static int around(fault *f, context *c, node *nd, int (*invoke)(context *, node *), node *with) {
  if (!f->first) f->first = nd;
  if (nd == f->first) f->invokes++;
  long n = f->invokes - f->o.spare;
  if (n <= 0) return invoke(c, with);
  int s = nd == f->first ? before(f, c, n) : OK;
  if (s == OK) s = invoke(c, with);
  if (s == OK) after(f, c, nd, n);
  return s;
}

// ---- The last operation of the graph, by TFLite's own kernel.

typedef struct {
  fault *f;
  node *n;
  registration *r;
} original;

static void *kernel_init(context *c, const char *params, size_t length) {
  (void)length;
  const delegate_params *p = (const void *)params;
  original *k = calloc(1, sizeof *k);
  if (k && ((k->f = of(p->d)) == NULL || c->get_node_and_registration(c, p->nodes->data[0], &k->n, &k->r) != OK)) {
    free(k);
    k = NULL;
  }
  return k;
}
static void kernel_free(context *c, void *k) {
  (void)c;
  free(k);
}
static int kernel_prepare(context *c, node *nd) {
  original *k = nd->user_data;
  if (!k) return ERROR;
  return k->r->prepare ? k->r->prepare(c, k->n) : OK;
}
static int kernel_invoke(context *c, node *nd) {
  original *k = nd->user_data;
  return around(k->f, c, nd, k->r->invoke, k->n);
}

static int take_last(context *c, delegate *d) {
  int_array *plan;
  if (c->get_execution_plan(c, &plan) != OK || plan->size == 0) return ERROR;
  int_array *one = malloc(sizeof *one + sizeof(int));
  if (!one) return ERROR;
  one->size = 1;
  one->data[0] = plan->data[plan->size - 1];
  registration r = {
      .init = kernel_init,
      .free = kernel_free,
      .prepare = kernel_prepare,
      .invoke = kernel_invoke,
      .custom_name = "Fault",
      .version = 1,
  };
  int s = c->replace(c, r, one, d);
  free(one);
  return s;
}

// ---- XNNPACK's kernels.

// Between the begin and the end of a prepare, which runs on one thread.
static fault *preparing;
static int (*replace)(context *, registration, const int_array *, delegate *);

static int wrapped_invoke(context *c, node *nd) {
  fault *f = of(nd->delegate);
  return f ? around(f, c, nd, f->xnnpack_invoke, nd) : ERROR;
}

static int wrapping_replace(context *c, registration r, const int_array *nodes, delegate *d) {
  preparing->xnnpack_invoke = r.invoke;
  r.invoke = wrapped_invoke;
  return replace(c, r, nodes, d);
}

static int take_xnnpack(fault *f, context *c, delegate *d) {
  preparing = f;
  replace = c->replace;
  c->replace = wrapping_replace;
  int s = f->xnnpack_prepare(c, d);
  c->replace = replace;
  return s;
}

// ---- The plugin.

static int prepare(context *c, delegate *d) {
  fault *f = of(d);
  if (!f) return ERROR;
  if (f->o.hang_prepare) hang();
  if (f->o.fail_prepare) {
    c->report_error(c, "fault: prepare fails as it was told to");
    return ERROR;
  }
  return f->o.wrap ? take_xnnpack(f, c, d) : take_last(c, d);
}

// tries counts the delegates that were created, in count-file.
static long tries(const char *count_file) {
  long n = 0;
  const char *life = getenv("EDGE_AGENT_TEST_LIFE");
  if (!count_file && life) return atol(life);
  FILE *f = count_file ? fopen(count_file, "r") : NULL;
  if (f) {
    if (fscanf(f, "%ld", &n) != 1) n = 0;
    fclose(f);
  }
  n++;
  f = count_file ? fopen(count_file, "w") : NULL;
  if (f) {
    fprintf(f, "%ld\n", n);
    fclose(f);
  }
  return n;
}

// read_options gives the name of one that is not known, or NULL.
static const char *read_options(options *o, char **keys, char **values, size_t n) {
  struct {
    const char *key;
    long *number;
  } numbers[] = {
      {"fail-invoke", &o->fail_invoke}, {"wrong-from", &o->wrong_from}, {"nan-from", &o->nan_from},
      {"drift-from", &o->drift_from},   {"hang-at", &o->hang_at},       {"abort-at", &o->abort_at},
      {"segfault-at", &o->segfault_at}, {"exit-at", &o->exit_at},       {"corrupt-heap-at", &o->corrupt_at},
      {"fp16", &o->fp16},               {"sleep-ms", &o->sleep_ms},     {"leak", &o->leak},
      {"recover-after", &o->recover_after}, {"spare-checks", &o->spare}, {"threads", &o->threads},
  };
  for (size_t i = 0; i < n; i++) {
    bool known = false;
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
      if (strcmp(keys[i], numbers[k].key) == 0) {
        *numbers[k].number = atol(values[i]);
        known = true;
      }
    }
    if (known) continue;
    if (strcmp(keys[i], "absent") == 0) o->absent = atoi(values[i]);
    else if (strcmp(keys[i], "fail-prepare") == 0) o->fail_prepare = atoi(values[i]);
    else if (strcmp(keys[i], "hang-prepare") == 0) o->hang_prepare = atoi(values[i]);
    else if (strcmp(keys[i], "create") == 0) o->create = strdup(values[i]);
    else if (strcmp(keys[i], "wrap") == 0) o->wrap = strdup(values[i]);
    else if (strcmp(keys[i], "count-file") == 0) o->count_file = strdup(values[i]);
    else if (strcmp(keys[i], "device") == 0) o->device = strdup(values[i]);
    else return keys[i];
  }
  return NULL;
}

// own takes a made-up device: a name in the kernel that one process has at a time, and its end gives back. Those who
// have it already share it. -1: another process has it.
static int own(const char *device) {
  for (fault *f = all; f; f = f->next)
    if (f->device >= 0 && strcmp(f->o.device, device) == 0) return dup(f->device);
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  int n = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "edge-agent-fault-%s", device);
  int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s >= 0 && bind(s, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) != 0) {
    close(s);
    s = -1;
  }
  return s;
}

static delegate *make_xnnpack(fault *f) {
  struct {
    int32_t threads;
    uint32_t flags;
    void *cache;
  } options = {f->o.threads > 0 ? (int32_t)f->o.threads : 1, 1 | 2, NULL}; // signed and unsigned 8 bits
  f->library = dlopen(f->o.wrap, RTLD_NOW | RTLD_LOCAL);
  delegate *(*create)(const void *) = f->library ? dlsym(f->library, "TfLiteXNNPackDelegateCreate") : NULL;
  delegate *d = create ? create(&options) : NULL;
  if (!d) {
    if (tell) tell("fault: the library to wrap has no XNNPACK delegate");
    return NULL;
  }
  f->xnnpack_prepare = d->prepare;
  d->prepare = prepare;
  return d;
}

// refuse says why there is no delegate.
static delegate *refuse(fault *f, const char *why) {
  if (tell) tell(why);
  free(f);
  return NULL;
}

delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t n, void (*error)(const char *)) {
  tell = error;
  fault *f = calloc(1, sizeof *f);
  if (!f) return NULL;
  f->device = -1;
  const char *unknown = read_options(&f->o, keys, values, n);
  if (unknown) {
    char line[200];
    snprintf(line, sizeof line, "fault: there is no option %s", unknown);
    return refuse(f, line);
  }
  if (f->o.recover_after && tries(f->o.count_file) > f->o.recover_after)
    f->o = (options){.wrap = f->o.wrap, .threads = f->o.threads, .device = f->o.device};
  if (f->o.absent) return refuse(f, "fault: there is no such device");
  if (f->o.device && (f->device = own(f->o.device)) < 0) return refuse(f, "fault: another process has the device");
  const char *create = f->o.create ? f->o.create : "";
  if (strcmp(create, "abort") == 0) abort();
  if (strcmp(create, "segfault") == 0) segfault();
  if (strcmp(create, "hang") == 0) hang();
  if (strcmp(create, "exit") == 0) exit(3);
  f->d = f->o.wrap ? make_xnnpack(f) : calloc(1, sizeof *f->d);
  if (!f->d) {
    if (f->device >= 0) close(f->device);
    free(f);
    return NULL;
  }
  f->d->prepare = prepare;
  f->next = all;
  all = f;
  return f->d;
}

void tflite_plugin_destroy_delegate(delegate *d) {
  fault *f = of(d);
  if (!f) return;
  for (fault **p = &all; *p; p = &(*p)->next) {
    if (*p == f) {
      *p = f->next;
      break;
    }
  }
  if (f->device >= 0) close(f->device);
  void (*destroy)(delegate *) = f->library ? dlsym(f->library, "TfLiteXNNPackDelegateDelete") : NULL;
  if (destroy) destroy(d);
  else if (!f->library) free(d);
  free(f);
}
