// The C side of the door to a TFLite C library: what of TFLite's C API and of the
// plugin ABI of its delegates the agent uses, declared by ourselves from their
// documentation, and resolved at run time.
//
// Each tfl_… function calls the function of the same name. What the library or a
// delegate reports as an error meanwhile is kept for tfl_last_log.
#ifndef EDGE_AGENT_TFLITE_SHIM_H
#define EDGE_AGENT_TFLITE_SHIM_H

#include <stddef.h>
#include <stdint.h>

typedef struct tfl_library tfl_library;

// tfl_open loads the library at path. On failure it returns NULL with the reason in
// error. A loaded library is never unloaded: thread pools do not survive that.
tfl_library *tfl_open(const char *path, char *error, size_t error_size);

// tfl_missing is the first needed symbol that the library lacks, or NULL.
const char *tfl_missing(const tfl_library *l);
const char *tfl_version(const tfl_library *l);
void tfl_free(tfl_library *l);

// tfl_last_log copies the errors that were reported since the last tfl_forget.
void tfl_last_log(char *text, size_t size);
void tfl_forget(void);

// tfl_delegate is a delegate and how it is given back.
typedef struct tfl_delegate tfl_delegate;

// The kinds of failure of the functions that make delegates.
typedef enum {
  TFL_OK,
  TFL_NO_LIBRARY, // it cannot be loaded; the log says why
  TFL_NO_ENTRY,   // it has not the functions of such a library
  TFL_NULL,       // it gave no delegate: its device is not there
  TFL_NO_MEMORY,
} tfl_made;

// tfl_create_plugin loads an external delegate and makes a delegate with n options.
tfl_made tfl_create_plugin(const char *path, char **keys, char **values, size_t n, tfl_delegate **d);

// tfl_create_gpu loads a TFLite GPU delegate library (GPU delegate V2).
tfl_made tfl_create_gpu(const char *path, int allow_fp16, tfl_delegate **d);

// What of TfLiteXNNPackDelegateOptions is passed: see tfl_create_xnnpack.
typedef enum {
  TFL_XNNPACK_DEFAULT, // nothing: one thread
  TFL_XNNPACK_SMALL,   // the 16 bytes of TFLite 2.9
  TFL_XNNPACK_BIG,     // more than 16 bytes, of which only the threads are known
} tfl_xnnpack_options;

// tfl_create_xnnpack makes the library's own CPU delegate. TFLite returns its
// default options by value, and their size changed with the versions: up to 16
// bytes they come in registers, above through a hidden pointer. The wrong one is
// undefined behaviour (seen: fp16 forced silently), so the caller says which. flags
// count for TFL_XNNPACK_SMALL only.
tfl_made tfl_create_xnnpack(tfl_library *l, tfl_xnnpack_options which, int threads, uint32_t flags, tfl_delegate **d);

// tfl_delegated tells how many operations the delegate took of how many; -1 of -1
// when it does not let itself be asked.
void tfl_delegated(const tfl_delegate *d, int *taken, int *of);
void tfl_destroy_delegate(tfl_delegate *d);

void *tfl_create_model(tfl_library *l, const void *data, size_t size);
void tfl_destroy_model(tfl_library *l, void *model);

// tfl_create_interpreter makes an interpreter; d may be NULL.
void *tfl_create_interpreter(tfl_library *l, void *model, int threads, tfl_delegate *d);
void tfl_destroy_interpreter(tfl_library *l, void *interpreter);
int tfl_allocate_tensors(tfl_library *l, void *interpreter);
int tfl_invoke(tfl_library *l, void *interpreter);

// tfl_side says which end of the model a tensor is at.
typedef enum { TFL_INPUT = 0, TFL_OUTPUT = 1 } tfl_side;

int tfl_num_tensors(tfl_library *l, void *interpreter, tfl_side side);
void *tfl_tensor(tfl_library *l, void *interpreter, tfl_side side, int i);

enum { TFL_MAX_RANK = 8 };

// tfl_info is what is told of a tensor.
typedef struct {
  const char *name; // the interpreter's
  int type, rank;
  int dims[TFL_MAX_RANK]; // the first of them
  size_t bytes;
  float scale;
  int32_t zero;
} tfl_info;

void tfl_describe(tfl_library *l, const void *tensor, tfl_info *info);

// tfl_data is where a tensor's bytes stand; asked anew for each invoke, as a
// delegate may move them.
void *tfl_data(tfl_library *l, const void *tensor);

#endif
