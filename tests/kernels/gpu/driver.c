/* A library with the prototypes of cuda.h (CUDA 13) for the functions that driver.py calls. It computes nothing: it
   writes down what it was called with, so that a wrong order, a wrong width or a lost pointer is seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef struct stream *CUstream;
typedef struct graph *CUgraph;
typedef struct executable *CUgraphExec;

static char calls[4096];
static const CUgraph GRAPH = (CUgraph)0x7f0011223344;
static const CUgraphExec EXECUTABLE = (CUgraphExec)0x7f0055667788;

static CUresult note(const char *name, const void *a, const void *b) {
    char line[128];
    snprintf(line, sizeof line, "%s %p %p\n", name, a, b);
    strncat(calls, line, sizeof calls - strlen(calls) - 1);
    const char *failing = getenv("FAILING");
    return failing && !strcmp(failing, name) ? 901 : 0;
}

const char *take_calls(void) {
    static char taken[sizeof calls];
    strcpy(taken, calls);
    calls[0] = 0;
    return taken;
}

CUresult cuInit(unsigned int flags) { return note("cuInit", (void *)(size_t)flags, 0); }

CUresult cuGetErrorName(CUresult error, const char **text) {
    *text = error == 901 ? "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" : 0;
    return error == 901 ? 0 : 1;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = 7 + ordinal;
    return note("cuDeviceGet", 0, 0);
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    snprintf(name, length, "NVIDIA Test %d", device);
    return 0;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    *value = device == 7 ? attribute - 63 : -1; /* 75 is the major number, 76 the minor one */
    return 0;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
    return note("cuStreamBeginCapture_v2", stream, (void *)(size_t)mode);
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    CUresult result = note("cuStreamEndCapture", stream, 0);
    *graph = result ? 0 : GRAPH;
    return result;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
    *executable = EXECUTABLE;
    return note("cuGraphInstantiateWithFlags", graph, (void *)flags);
}

CUresult cuGraphDestroy(CUgraph graph) { return note("cuGraphDestroy", graph, 0); }
CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) { return note("cuGraphLaunch", executable, stream); }
CUresult cuGraphExecDestroy(CUgraphExec executable) { return note("cuGraphExecDestroy", executable, 0); }
