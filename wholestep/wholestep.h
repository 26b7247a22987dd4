// Everything a program that trains needs, in one include:
//   wholestep::          Tensor and its ops, grad, Graph, compile, datasets, Trainer, checkpoints, Error
//   wholestep::nn::      layers, losses, initialisers
//   wholestep::optim::   optimizers, schedules, clipping
// Programs often write `namespace ws = wholestep;`. Every header also stands alone.
#pragma once

#include "wholestep/base/error.h"
#include "wholestep/base/log.h"
#include "wholestep/base/philox.h"
#include "wholestep/base/version.h"

#include "wholestep/backend/cpu/isa.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/device.h"

#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/graph/op.h"
#include "wholestep/graph/tensor.h"

#include "wholestep/ops/batch_norm.h"
#include "wholestep/ops/conv2d.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/gather.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/pool2d.h"
#include "wholestep/ops/random.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/ops/softmax.h"

#include "wholestep/compile/compile.h"
#include "wholestep/compile/plan_table.h"

#include "wholestep/nn/activations.h"
#include "wholestep/nn/batch_norm.h"
#include "wholestep/nn/conv2d.h"
#include "wholestep/nn/dropout.h"
#include "wholestep/nn/flatten.h"
#include "wholestep/nn/init.h"
#include "wholestep/nn/layer.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/nn/module.h"
#include "wholestep/nn/pool2d.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/nn/summary.h"
#include "wholestep/nn/zoo.h"

#include "wholestep/optim/adam.h"
#include "wholestep/optim/clip.h"
#include "wholestep/optim/optimizer.h"
#include "wholestep/optim/schedule.h"
#include "wholestep/optim/sgd.h"

#include "wholestep/data/dataset.h"
#include "wholestep/data/digits.h"
#include "wholestep/data/loader.h"
#include "wholestep/data/preview.h"
#include "wholestep/data/sampler.h"
#include "wholestep/data/specs.h"
#include "wholestep/data/transforms.h"

#include "wholestep/train/checkpoint.h"
#include "wholestep/train/class_loss.h"
#include "wholestep/train/evaluator.h"
#include "wholestep/train/report.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/train_step.h"
#include "wholestep/train/trained_model.h"
#include "wholestep/train/trainer.h"
