/* Folded super-resolution networks on processors, whole: pixels in, pixels out, in one pass over the rows.
 *
 * A plain network is 3x3 convolutions with PReLU, ReLU, LeakyReLU or nothing between, a skip and PixelShuffle. A model
 * is what a file says; a network is one made ready for a precision and an instruction set. Both never change, so that
 * any number of threads may use one at the same time. No function keeps a pointer that it was given.
 */
#ifndef REPSR_ENGINE_H
#define REPSR_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define REPSR_API __attribute__((visibility("default")))
#else
#define REPSR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a function returns. Everything but REPSR_OK comes with a message, and leaves the outputs alone, but for
 * REPSR_NOT_FINITE and REPSR_OUT_OF_MEMORY of repsr_run, after which `out` may be half written. */
typedef enum repsr_status {
    REPSR_OK = 0,
    REPSR_BAD_MODEL = 1,      /* truncated, damaged, or numbers in it that no network has */
    REPSR_NOT_PLAIN = 2,      /* a model of another kind: the message names the node */
    REPSR_BAD_ARGUMENT = 3,   /* null or overlapping buffers, sizes, pitches, names */
    REPSR_UNSUPPORTED = 4,    /* this processor, or this library, cannot do that */
    REPSR_OUT_OF_MEMORY = 5,
    REPSR_NOT_FINITE = 6      /* the network gives NaN or infinity, or the picture holds such */
} repsr_status;

/* One sentence in UTF-8, cut off where it is longer. Every function takes a null pointer in its place. */
typedef struct repsr_message {
    char text[512];
} repsr_message;

typedef struct repsr_model repsr_model;
typedef struct repsr_network repsr_network;

typedef enum repsr_precision { REPSR_FP32 = 0, REPSR_BF16 = 1, REPSR_INT8 = 2 } repsr_precision;
typedef enum repsr_skip { REPSR_NO_SKIP = 0, REPSR_NEAREST = 1, REPSR_BILINEAR = 2 } repsr_skip;
/* REPSR_BYTES: uint8 H x W x C. REPSR_FLOATS: float32 planes C x H x W in 0..1. REPSR_FEATURES, of results: float32
 * planes (C s s) x H x W, what the last convolution gives, before skip, PixelShuffle and clamp. */
typedef enum repsr_samples { REPSR_BYTES = 0, REPSR_FLOATS = 1, REPSR_FEATURES = 2 } repsr_samples;
/* What the model's own inputs and outputs are. A model of REPSR_IO_FEATURES gives features only. */
typedef enum repsr_io { REPSR_IO_FLOAT = 0, REPSR_IO_IMAGE = 1, REPSR_IO_FEATURES = 2 } repsr_io;

typedef struct repsr_description {
    int32_t colours;         /* C: 3 (RGB) or 1 (Y) */
    int32_t scale;           /* s: 1 to 4 */
    int32_t layers;          /* convolutions, head and tail among them: the receptive field reaches so many pixels */
    int32_t channels;        /* of the widest feature map between them */
    int32_t int8_layers;     /* convolutions of codes: 0 but for models with QuantizeLinear */
    int32_t skip;            /* repsr_skip; of a model of features REPSR_NO_SKIP */
    int32_t io;              /* repsr_io */
    int32_t clamps;          /* 1 where the model clamps its output to 0..1 */
    int64_t macs_per_pixel;  /* multiply-adds for each LR pixel */
} repsr_description;

/* Work of repsr_run. Everything is counted from the first byte of a buffer; pitches are bytes and may be any number
 * that keeps rows, planes or pixels from overlapping; nothing needs to be aligned but floats to 4 bytes. */
typedef struct repsr_job {
    int64_t height, width;        /* LR picture, all of it, 1 to 2^24 pixels a side */
    int64_t first_row, end_row;   /* LR rows to enlarge: 0 and `height` for all */
    const void* image;            /* row 0 of the picture, also where first_row is not 0 */
    uint64_t image_bytes;         /* size of its buffer: nothing is read beyond */
    int64_t image_pitch;          /* from row to row */
    int64_t image_plane;          /* from plane to plane; not used for bytes */
    void* out;                    /* row s * first_row of the result */
    uint64_t out_bytes;           /* size of its buffer: nothing is written beyond */
    int64_t out_pitch;
    int64_t out_plane;
    int32_t image_samples;        /* repsr_samples */
    int32_t out_samples;          /* repsr_samples; REPSR_BYTES only of REPSR_BYTES */
    int32_t threads;              /* at most so many, 1 or more */
    int32_t strip_rows;           /* the picture cut into strips and columns of so many LR pixels, which changes no bit */
    int32_t block_columns;        /* of the result; 0: as is best for this processor's caches. More than 65536 columns
                                   * are cut all the same: the memory for rows is bounded */
} repsr_job;

/* Identity of the library: hexadecimal digest of the sources that it was built of. */
REPSR_API const char* repsr_sources(void);

/* Names of the instruction sets in this library, slowest first; null behind the last one. */
REPSR_API const char* repsr_instruction_set(int32_t index);

/* Whether this processor has it, and in which precisions it computes: bit 1 << repsr_precision. 0 where it has not. */
REPSR_API uint32_t repsr_precisions(const char* instruction_set);

/* Read an ONNX file that was loaded into memory.
 * REPSR_BAD_MODEL, REPSR_NOT_PLAIN, REPSR_BAD_ARGUMENT, REPSR_OUT_OF_MEMORY. */
REPSR_API repsr_status repsr_model_read(
    const void* onnx, uint64_t bytes, repsr_model** model, repsr_message* message);
REPSR_API void repsr_model_free(repsr_model* model);
REPSR_API void repsr_model_describe(const repsr_model* model, repsr_description* description);
/* Entries of metadata_props in the order of the file, as UTF-8 with a zero behind; null behind the last one. They live
 * as long as the model. */
REPSR_API const char* repsr_model_property_key(const repsr_model* model, int32_t index);
REPSR_API const char* repsr_model_property_value(const repsr_model* model, int32_t index);

/* Make a model ready. `precision`: repsr_precision. `instruction_set` null: the fastest one that computes in it.
 * REPSR_UNSUPPORTED, REPSR_BAD_ARGUMENT, REPSR_OUT_OF_MEMORY. */
REPSR_API repsr_status repsr_network_make(
    const repsr_model* model, int32_t precision, const char* instruction_set, repsr_network** network,
    repsr_message* message);
REPSR_API void repsr_network_free(repsr_network* network);
REPSR_API const char* repsr_network_instruction_set(const repsr_network* network);

/* Enlarge rows of a picture.
 * REPSR_BAD_ARGUMENT, REPSR_OUT_OF_MEMORY, REPSR_NOT_FINITE. */
REPSR_API repsr_status repsr_run(const repsr_network* network, const repsr_job* job, repsr_message* message);

/* Multiply-adds a second of the instruction alone, on so many threads at once, for about so many seconds: the bound of
 * every convolution. 0 where this processor has no such instruction. */
REPSR_API double repsr_peak(const char* instruction_set, int32_t precision, int32_t threads, double seconds);

#ifdef __cplusplus
}
#endif
#endif
