// An export in the format onnx, by ONNX Runtime.
#include <onnxruntime_cxx_api.h>

#include <memory>

#include "flambeau.hpp"

namespace {

const std::unordered_map<std::string, ONNXTensorElementDataType> TYPES = {
    {"uint8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {"int32", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {"int64", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
};

flambeau::Program load(const flambeau::Export& given) {
  static Ort::Env environment(ORT_LOGGING_LEVEL_ERROR);
  auto session = std::make_shared<Ort::Session>(environment, given.program.c_str(), Ort::SessionOptions{});
  return [session, answers = given.outputs[given.answers]](const std::vector<flambeau::Array>& arrays) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<const char*> names;
    std::vector<Ort::Value> values;
    for (const auto& array : arrays) {
      names.push_back(array.name.c_str());
      values.push_back(Ort::Value::CreateTensor(memory, const_cast<char*>(array.bytes.data()), array.bytes.size(),
                                                array.shape.data(), array.shape.size(), TYPES.at(array.dtype)));
    }
    const char* wanted = answers.c_str();
    const auto found = session->Run(Ort::RunOptions{}, names.data(), values.data(), values.size(), &wanted, 1);
    const float* chances = found[0].GetTensorData<float>();
    return std::vector<float>(chances, chances + found[0].GetTensorTypeAndShapeInfo().GetElementCount());
  };
}

}  // namespace

int main(int argc, char** argv) { return flambeau::command(argc, argv, "onnx", load); }
