// The elementary functions of the CPU's loops as device functions, in namespace math.
#pragma once
#define WHOLESTEP_ISA device
#include "math.isa.h"
namespace math = wholestep::device::math;
