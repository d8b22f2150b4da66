// Functions that PyCUDA wants to find when it is imported and that are not simulated: each says so and gives an error.
// This file does not include cuda.h, as prototypes do not matter to functions that look at no argument.
#include <cstdio>

#define ABSENT(name)                                                             \
    extern "C" __attribute__((visibility("default"))) int name();                \
    extern "C" int name() {                                                      \
        std::fprintf(stderr, "simulated GPU: " #name " is not simulated\n");     \
        return 801; /* CUDA_ERROR_NOT_SUPPORTED */                               \
    }

ABSENT(cuArray3DCreate_v2) ABSENT(cuArray3DGetDescriptor_v2) ABSENT(cuArrayCreate_v2) ABSENT(cuArrayDestroy)
ABSENT(cuArrayGetDescriptor_v2) ABSENT(cuCtxDisablePeerAccess) ABSENT(cuCtxEnablePeerAccess)
ABSENT(cuCtxGetCacheConfig) ABSENT(cuCtxGetLimit) ABSENT(cuCtxGetSharedMemConfig) ABSENT(cuCtxSetCacheConfig)
ABSENT(cuCtxSetLimit) ABSENT(cuCtxSetSharedMemConfig) ABSENT(cuDeviceCanAccessPeer) ABSENT(cuFuncSetSharedSize)
ABSENT(cuIpcCloseMemHandle) ABSENT(cuIpcGetEventHandle) ABSENT(cuIpcGetMemHandle) ABSENT(cuIpcOpenEventHandle)
ABSENT(cuIpcOpenMemHandle_v2) ABSENT(cuLaunch) ABSENT(cuLaunchGrid) ABSENT(cuLaunchGridAsync) ABSENT(cuLinkAddData_v2)
ABSENT(cuLinkAddFile_v2) ABSENT(cuLinkComplete) ABSENT(cuLinkCreate_v2) ABSENT(cuLinkDestroy)
ABSENT(cuMemAllocManaged) ABSENT(cuMemcpy3DPeer) ABSENT(cuMemcpy3DPeerAsync) ABSENT(cuMemcpyAtoA_v2)
ABSENT(cuMemcpyAtoD_v2) ABSENT(cuMemcpyAtoH_v2) ABSENT(cuMemcpyDtoA_v2) ABSENT(cuMemcpyHtoA_v2) ABSENT(cuMemcpyPeer)
ABSENT(cuMemcpyPeerAsync) ABSENT(cuModuleGetGlobal_v2) ABSENT(cuModuleGetSurfRef) ABSENT(cuModuleGetTexRef)
ABSENT(cuModuleLoad) ABSENT(cuParamSetSize) ABSENT(cuParamSetTexRef) ABSENT(cuParamSetf) ABSENT(cuParamSeti)
ABSENT(cuParamSetv) ABSENT(cuProfilerInitialize) ABSENT(cuProfilerStart) ABSENT(cuProfilerStop)
ABSENT(cuStreamAttachMemAsync) ABSENT(cuSurfRefGetArray) ABSENT(cuSurfRefSetArray) ABSENT(cuTexRefCreate)
ABSENT(cuTexRefDestroy) ABSENT(cuTexRefGetAddressMode) ABSENT(cuTexRefGetAddress_v2) ABSENT(cuTexRefGetArray)
ABSENT(cuTexRefGetFilterMode) ABSENT(cuTexRefGetFlags) ABSENT(cuTexRefGetFormat) ABSENT(cuTexRefSetAddress2D_v3)
ABSENT(cuTexRefSetAddressMode) ABSENT(cuTexRefSetAddress_v2) ABSENT(cuTexRefSetArray) ABSENT(cuTexRefSetFilterMode)
ABSENT(cuTexRefSetFlags) ABSENT(cuTexRefSetFormat)
