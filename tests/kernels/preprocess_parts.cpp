// Parts of Preprocess that no operation of a test's size can reach, for Python.
#include "border.cuh"

extern "C" int repsr_mapped(int padding, int start, int steps, int side) {
    return repsr::mapped(padding, repsr::position_of(start, steps), side);
}
