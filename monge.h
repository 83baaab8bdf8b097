// Monge: everything that a program built on it may want. A single header of a folder serves as well.
#pragma once

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "core/row_map/custom.h"
#include "nn/attention/attention.h"
#include "nn/gpt.h"
#include "nn/registries.h"
#include "optim/optimizer.h"
#include "tools/program.h"
#include "train/config.h"
#include "train/data/dataset.h"
#include "train/data/tokenizer.h"
#include "train/evaluate.h"
#include "train/sampler.h"
#include "train/saved_model.h"
#include "train/trainer.h"
