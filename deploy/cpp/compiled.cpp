// An export in the format compiled, a package of AOTInductor, by libtorch and without Python.
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <memory>

#include "flambeau.hpp"

namespace {

const std::unordered_map<std::string, at::ScalarType> TYPES = {
    {"uint8", at::kByte},
    {"int32", at::kInt},
    {"int64", at::kLong},
};

flambeau::Program load(const flambeau::Export& given) {
  auto package = std::make_shared<torch::inductor::AOTIModelPackageLoader>(given.program);
  return [package, answers = given.answers](const std::vector<flambeau::Array>& arrays) {
    const c10::InferenceMode mode;
    std::vector<at::Tensor> values;
    for (const auto& array : arrays)
      values.push_back(at::from_blob(const_cast<char*>(array.bytes.data()), array.shape, TYPES.at(array.dtype)));
    const at::Tensor chances = package->run(values).at(answers).contiguous();
    return std::vector<float>(chances.const_data_ptr<float>(), chances.const_data_ptr<float>() + chances.numel());
  };
}

}  // namespace

int main(int argc, char** argv) { return flambeau::command(argc, argv, "compiled", load); }
