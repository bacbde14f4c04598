// Resolves LiteRT's functions, calls them, and catches what the library prints.
#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

// The functions in use, with LiteRT's own signatures; handles are plain pointers.
#define FUNCTIONS(F)                                                                       \
  F(int, CreateEnvironment, (int, const void *, void **))                                  \
  F(void, DestroyEnvironment, (void *))                                                    \
  F(int, CreateModelFromFd, (void *, int, size_t, size_t, void **))                        \
  F(void, DestroyModel, (void *))                                                          \
  F(int, GetNumAccelerators, (void *, size_t *))                                           \
  F(int, GetAccelerator, (void *, size_t, void **))                                        \
  F(int, GetAcceleratorHardwareSupport, (const void *, int *))                             \
  F(int, CreateOptions, (void **))                                                         \
  F(void, DestroyOptions, (void *))                                                        \
  F(int, SetOptionsHardwareAccelerators, (void *, int))                                    \
  F(int, CreateOpaqueOptions, (const char *, void *, void (*)(void *), void **))           \
  F(int, AddOpaqueOptions, (void *, void *))                                               \
  F(int, CreateCompiledModel, (void *, void *, void *, void **))                           \
  F(int, CompiledModelIsFullyAccelerated, (void *, bool *))                                \
  F(int, CompiledModelIsNonCpuFullyAccelerated, (void *, bool *))                          \
  F(void, DestroyCompiledModel, (void *))                                                  \
  F(int, GetModelSignature, (void *, size_t, void **))                                     \
  F(int, GetNumSignatureInputs, (void *, size_t *))                                        \
  F(int, GetNumSignatureOutputs, (void *, size_t *))                                       \
  F(int, GetSignatureInputTensorByIndex, (void *, size_t, void **))                        \
  F(int, GetSignatureOutputTensorByIndex, (void *, size_t, void **))                       \
  F(int, GetTensorName, (void *, const char **))                                           \
  F(int, GetRankedTensorType, (void *, lrt_tensor_type *))                                 \
  F(int, GetQuantizationTypeId, (void *, int *))                                           \
  F(int, GetPerTensorQuantization, (void *, lrt_per_tensor *))                             \
  F(int, GetPerChannelQuantization, (void *, lrt_per_channel *))                           \
  F(int, CompiledModelResizeInputTensor, (void *, size_t, size_t, const int *, size_t))    \
  F(int, GetCompiledModelOutputTensorLayouts, (void *, size_t, size_t, lrt_layout *, bool)) \
  F(int, CreateTensorBufferFromHostMemory,                                                 \
    (const lrt_tensor_type *, void *, size_t, void (*)(void *), void **))                  \
  F(void, DestroyTensorBuffer, (void *))                                                   \
  F(int, RunCompiledModel, (void *, size_t, size_t, void **, size_t, void **))             \
  F(int, CompiledModelGetProfiler, (void *, void **))                                      \
  F(int, ResetProfiler, (void *))                                                          \
  F(int, StartProfiler, (void *))                                                          \
  F(int, StopProfiler, (void *))                                                           \
  F(int, GetNumProfilerEvents, (void *, int *))                                            \
  F(int, GetProfilerEvents, (void *, int, lrt_event *))

struct lrt_library {
#define MEMBER(result, name, args) result(*name) args;
  FUNCTIONS(MEMBER)
#undef MEMBER
  size_t table_entries;
  const char *missing;
};

// LiteRtEnvOption: a tag and a LiteRtAny.
typedef struct {
  int32_t tag, pad;
  int32_t type, pad2;
  int64_t value;
} env_option;
_Static_assert(sizeof(env_option) == 24, "LiteRtEnvOption");

enum {
  TAG_RUNTIME_LIBRARY_DIR = 22,
  TAG_AUTO_REGISTER_ACCELERATORS = 24,
  TAG_MIN_LOGGER_SEVERITY = 25,
  ANY_INT = 2,
  ANY_STRING = 8,
  SEVERITY_WARNING = 2,
  STATUS_NO_MEMORY = 2,
};

// ---- What the library prints ----
//
// LiteRT exports no logger: it prints with fprintf(stderr). glibc allows stderr to
// be assigned, so ours takes the lines. Go's own output goes to descriptor 2 and
// is not touched.

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char held[16 << 10]; // what was printed since the last call began
static size_t held_size;
static volatile sig_atomic_t busy; // a call is under way

static void write_all(const char *p, size_t n) {
  while (n > 0) {
    ssize_t k = write(STDERR_FILENO, p, n);
    if (k <= 0) return;
    p += k;
    n -= (size_t)k;
  }
}

static bool is_chatter(const char *line) {
  return strncmp(line, "INFO:", 5) == 0 || strncmp(line, "VERBOSE:", 8) == 0 || strncmp(line, "DEBUG:", 6) == 0;
}

static char partition[256]; // the last line that told what runs where

static void note_partition(const char *line, size_t n) {
  static const char marks[] = "operations will run on the GPU";
  if (memmem(line, n, marks, sizeof marks - 1)) snprintf(partition, sizeof partition, "%.*s", (int)n, line);
}

// let_go prints the held lines but for the chatter. log_lock is held.
static void let_go(void) {
  char *line = held, *stop = held + held_size;
  while (line < stop) {
    char *nl = memchr(line, '\n', (size_t)(stop - line));
    size_t n = nl ? (size_t)(nl - line) + 1 : (size_t)(stop - line);
    note_partition(line, n);
    if (!is_chatter(line)) write_all(line, n);
    line += n;
  }
  held_size = 0;
}

static ssize_t take(void *cookie, const char *p, size_t n) {
  (void)cookie;
  pthread_mutex_lock(&log_lock);
  size_t room = sizeof held - 1 - held_size;
  size_t k = n < room ? n : room; // more than the room is lost: the first lines tell most
  memcpy(held + held_size, p, k);
  held_size += k;
  held[held_size] = 0;
  if (!busy && n > 0 && p[n - 1] == '\n') let_go();
  pthread_mutex_unlock(&log_lock);
  return (ssize_t)n;
}

static void catch_stderr(void) {
  FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = take});
  if (!f) return; // out of memory: the library prints where it always did
  setvbuf(f, NULL, _IOLBF, 1024);
  stderr = f;
}

static void begin(void) {
  pthread_mutex_lock(&log_lock);
  held_size = 0;
  held[0] = 0;
  busy = 1;
  pthread_mutex_unlock(&log_lock);
}

static int end(int status) {
  pthread_mutex_lock(&log_lock);
  busy = 0;
  if (status == 0 && held_size > 0) let_go();
  pthread_mutex_unlock(&log_lock);
  return status;
}

void lrt_last_log(char *text, size_t size) {
  pthread_mutex_lock(&log_lock);
  snprintf(text, size, "%s", held);
  pthread_mutex_unlock(&log_lock);
}

void lrt_partition(char *text, size_t size) {
  pthread_mutex_lock(&log_lock);
  snprintf(text, size, "%s", partition);
  pthread_mutex_unlock(&log_lock);
}

// CALL makes one call with its output held back.
#define CALL(call) (begin(), end(call))

// ---- Crashes ----

static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
enum { DEADLY = sizeof deadly / sizeof *deadly };
static struct sigaction gos[DEADLY]; // the handlers of Go's runtime

// ours says whether the code at which a signal struck is the program's own: Go's, or
// the little C in it. Libraries, and code that they made at run time, are not.
static bool ours(const void *context) {
  const ucontext_t *u = context;
#if defined(__x86_64__)
  void *pc = (void *)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  void *pc = (void *)u->uc_mcontext.pc;
#else
  (void)u;
  return true;
#endif
  Dl_info at, here;
  return dladdr(pc, &at) && dladdr((void *)ours, &here) && at.dli_fbase == here.dli_fbase;
}

static void crashed(int sig, siginfo_t *info, void *context) {
  for (int i = 0; i < DEADLY; i++) {
    if (deadly[i] != sig) continue;
    if (!busy && info->si_code > 0 && ours(context)) { // a fault in Go's own code: Go tells where
      if (gos[i].sa_flags & SA_SIGINFO && gos[i].sa_sigaction) {
        gos[i].sa_sigaction(sig, info, context);
        return;
      }
      break;
    }
    if (busy) write_all(held, held_size);
    break;
  }
  signal(sig, SIG_DFL);
  raise(sig); // delivered when this handler returns
}

void lrt_die_by_signal(void) {
  struct sigaction a = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&a.sa_mask);
  for (int i = 0; i < DEADLY; i++) {
    if (gos[i].sa_sigaction == crashed) continue;
    sigaction(deadly[i], NULL, &gos[i]);
    sigaction(deadly[i], &a, NULL);
  }
}

// ---- Loading ----

lrt_library *lrt_open(const char *path, char *error, size_t error_size) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, catch_stderr);

  begin();
  void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  end(0);
  if (!h) {
    const char *why = dlerror();
    snprintf(error, error_size, "%s", why ? why : "no reason given");
    return NULL;
  }
  lrt_library *l = calloc(1, sizeof *l);
  if (!l) {
    snprintf(error, error_size, "out of memory");
    return NULL;
  }
#define RESOLVE(result, name, args)                          \
  l->name = (result(*) args)dlsym(h, "LiteRt" #name);        \
  if (!l->name && !l->missing) l->missing = "LiteRt" #name;
  FUNCTIONS(RESOLVE)
#undef RESOLVE
  // The table's length stands in the library's own symbol table.
  void *table = dlsym(h, "kLiteRtRuntimeBuiltin");
  Dl_info info;
  const ElfW(Sym) *sym = NULL;
  if (table && dladdr1(table, &info, (void **)&sym, RTLD_DL_SYMENT) && sym)
    l->table_entries = sym->st_size / sizeof(void *);
  return l;
}

size_t lrt_table_entries(const lrt_library *l) { return l->table_entries; }
const char *lrt_missing(const lrt_library *l) { return l->missing; }
void lrt_free(lrt_library *l) { free(l); }

// ---- Calls ----

int lrt_create_environment(lrt_library *l, int accelerators, const char *folder, void **env) {
  // What is not asked for is not registered: merely loading the GPU library found
  // beside this one kills the process on some boards.
  env_option o[] = {
      {TAG_AUTO_REGISTER_ACCELERATORS, 0, ANY_INT, 0, accelerators},
      {TAG_MIN_LOGGER_SEVERITY, 0, ANY_INT, 0, SEVERITY_WARNING},
      {TAG_RUNTIME_LIBRARY_DIR, 0, ANY_STRING, 0, (intptr_t)folder},
  };
  return CALL(l->CreateEnvironment(folder ? 3 : 2, o, env));
}
void lrt_destroy_environment(lrt_library *l, void *env) { l->DestroyEnvironment(env); }

int lrt_create_model_from_fd(lrt_library *l, void *env, int fd, size_t size, void **model) {
  return CALL(l->CreateModelFromFd(env, fd, 0, size, model));
}
void lrt_destroy_model(lrt_library *l, void *model) { l->DestroyModel(model); }

bool lrt_can_load(const char *path, char *error, size_t error_size) {
  begin();
  void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  end(0);
  if (h) return true;
  const char *why = dlerror();
  snprintf(error, error_size, "%s", why ? why : "no reason given");
  return false;
}

bool lrt_has_gpu(lrt_library *l, void *env) {
  size_t n = 0;
  if (CALL(l->GetNumAccelerators(env, &n)) != 0) return false;
  for (size_t i = 0; i < n; i++) {
    void *a;
    int set = 0;
    if (CALL(l->GetAccelerator(env, i, &a)) == 0 && CALL(l->GetAcceleratorHardwareSupport(a, &set)) == 0 && set & LRT_GPU)
      return true;
  }
  return false;
}

// add_opaque adds options of one accelerator, as text of its own.
static int add_opaque(lrt_library *l, void *options, const char *identifier, const char *text) {
  char *own = strdup(text); // the library frees it
  if (!own) return STATUS_NO_MEMORY;
  void *opaque = NULL;
  int s = CALL(l->CreateOpaqueOptions(identifier, own, free, &opaque));
  if (s != 0) {
    free(own);
    return s;
  }
  return CALL(l->AddOpaqueOptions(options, opaque)); // takes it over
}

int lrt_create_options(lrt_library *l, int accelerators, const char *xnnpack, const char *gpu, const char *runtime, void **options) {
  void *o = NULL;
  int s = CALL(l->CreateOptions(&o));
  if (s == 0) s = CALL(l->SetOptionsHardwareAccelerators(o, accelerators));
  if (s == 0) s = add_opaque(l, o, "xnnpack", xnnpack);
  if (s == 0 && gpu) s = add_opaque(l, o, "gpu_options", gpu);
  if (s == 0 && runtime) s = add_opaque(l, o, "runtime_options_string", runtime);
  if (s != 0) {
    if (o) l->DestroyOptions(o);
    return s;
  }
  *options = o;
  return 0;
}
void lrt_destroy_options(lrt_library *l, void *options) { l->DestroyOptions(options); }

int lrt_create_compiled_model(lrt_library *l, void *env, void *model, void *options, void **compiled) {
  return CALL(l->CreateCompiledModel(env, model, options, compiled));
}
int lrt_accelerated(lrt_library *l, void *compiled, bool *off_cpu, bool *delegated) {
  int s = CALL(l->CompiledModelIsNonCpuFullyAccelerated(compiled, off_cpu));
  return s ? s : CALL(l->CompiledModelIsFullyAccelerated(compiled, delegated));
}
void lrt_destroy_compiled_model(lrt_library *l, void *compiled) { l->DestroyCompiledModel(compiled); }

int lrt_get_signature(lrt_library *l, void *model, void **signature) {
  return CALL(l->GetModelSignature(model, 0, signature));
}
int lrt_get_num_tensors(lrt_library *l, void *signature, lrt_side side, size_t *n) {
  return CALL((side == LRT_INPUT ? l->GetNumSignatureInputs : l->GetNumSignatureOutputs)(signature, n));
}
int lrt_get_tensor(lrt_library *l, void *signature, lrt_side side, size_t i, void **tensor) {
  return CALL((side == LRT_INPUT ? l->GetSignatureInputTensorByIndex
                                 : l->GetSignatureOutputTensorByIndex)(signature, i, tensor));
}
int lrt_get_tensor_name(lrt_library *l, void *tensor, const char **name) {
  return CALL(l->GetTensorName(tensor, name));
}
int lrt_get_tensor_type(lrt_library *l, void *tensor, lrt_tensor_type *type) {
  return CALL(l->GetRankedTensorType(tensor, type));
}
int lrt_get_quantization_id(lrt_library *l, void *tensor, int *id) {
  return CALL(l->GetQuantizationTypeId(tensor, id));
}
int lrt_get_per_tensor(lrt_library *l, void *tensor, lrt_per_tensor *q) {
  return CALL(l->GetPerTensorQuantization(tensor, q));
}
int lrt_get_per_channel(lrt_library *l, void *tensor, lrt_per_channel *q) {
  return CALL(l->GetPerChannelQuantization(tensor, q));
}

int lrt_resize_input(lrt_library *l, void *compiled, size_t i, const int *dims, size_t rank) {
  return CALL(l->CompiledModelResizeInputTensor(compiled, 0, i, dims, rank));
}
int lrt_get_output_layouts(lrt_library *l, void *compiled, size_t n, lrt_layout *layouts) {
  return CALL(l->GetCompiledModelOutputTensorLayouts(compiled, 0, n, layouts, true));
}

int lrt_create_buffer(lrt_library *l, const lrt_tensor_type *type, void *memory, size_t size, void **buffer) {
  return CALL(l->CreateTensorBufferFromHostMemory(type, memory, size, NULL, buffer));
}
void lrt_destroy_buffer(lrt_library *l, void *buffer) { l->DestroyTensorBuffer(buffer); }

int lrt_run(lrt_library *l, void *compiled, size_t n_in, void **in, size_t n_out, void **out) {
  return CALL(l->RunCompiledModel(compiled, 0, n_in, in, n_out, out));
}

int lrt_profiler_of(lrt_library *l, void *compiled, void **profiler) {
  return CALL(l->CompiledModelGetProfiler(compiled, profiler));
}
int lrt_start_profiler(lrt_library *l, void *profiler) {
  int s = CALL(l->ResetProfiler(profiler));
  return s ? s : CALL(l->StartProfiler(profiler));
}
int lrt_stop_profiler(lrt_library *l, void *profiler) { return CALL(l->StopProfiler(profiler)); }
int lrt_num_events(lrt_library *l, void *profiler, int *n) { return CALL(l->GetNumProfilerEvents(profiler, n)); }
int lrt_get_events(lrt_library *l, void *profiler, int n, lrt_event *events) {
  return CALL(l->GetProfilerEvents(profiler, n, events));
}
