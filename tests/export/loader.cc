// Loads a SavedModel without Python and answers requests, by TensorFlow's C API.
//
//   loader MODEL_DIR SIGNATURE INPUT... -- OUTPUT...
//
// INPUT is NAME:DTYPE:SHAPE:VALUES, e.g. seed:int64:2:7,8 or prefix:float:1,2,1:0,1. Each OUTPUT is
// printed as a line of its name, its shape and its values, as hexadecimal floats: exact. A refusal
// is printed as "error CODE MESSAGE". Tensor names are read from the SignatureDef.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/c/c_api.h"

namespace {

// A reader of protocol buffers' wire format: https://protobuf.dev/programming-guides/encoding.
// MetaGraphDef, field 5: a map of SignatureDefs by name; SignatureDef, fields 1 and 2: maps of
// TensorInfos by name; TensorInfo, field 1: the tensor's name. A map's entry has fields 1 and 2.
using Fields = std::multimap<int, std::string>;

uint64_t Varint(const std::string& bytes, size_t* at) {
  uint64_t value = 0;
  for (int shift = 0; *at < bytes.size(); shift += 7) {
    const uint8_t byte = bytes[(*at)++];
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return value;
}

Fields Parse(const std::string& bytes) {
  Fields fields;
  for (size_t at = 0; at < bytes.size();) {
    const uint64_t key = Varint(bytes, &at);
    size_t size = 0;
    switch (key & 7) {
      case 0: Varint(bytes, &at); continue;
      case 1: size = 8; break;
      case 2: size = Varint(bytes, &at); break;
      case 5: size = 4; break;
      default: std::fprintf(stderr, "no protocol buffer\n"); std::exit(2);
    }
    if ((key & 7) == 2) fields.emplace(static_cast<int>(key >> 3), bytes.substr(at, size));
    at += size;
  }
  return fields;
}

std::string Get(const Fields& fields, int number) {
  const auto found = fields.find(number);
  return found == fields.end() ? "" : found->second;
}

// The entry of a map field under a name.
Fields Entry(const Fields& fields, int number, const std::string& name) {
  const auto range = fields.equal_range(number);
  for (auto it = range.first; it != range.second; ++it) {
    const Fields entry = Parse(it->second);
    if (Get(entry, 1) == name) return Parse(Get(entry, 2));
  }
  std::fprintf(stderr, "no %s in the signature\n", name.c_str());
  std::exit(2);
}

void Check(TF_Status* status) {
  if (TF_GetCode(status) == TF_OK) return;
  std::printf("error %d %s\n", TF_GetCode(status), TF_Message(status));
  std::exit(0);
}

// "NAME:INDEX" as an output of the graph.
TF_Output Find(TF_Graph* graph, const std::string& tensor) {
  const size_t colon = tensor.rfind(':');
  TF_Operation* operation = TF_GraphOperationByName(graph, tensor.substr(0, colon).c_str());
  if (operation == nullptr) {
    std::fprintf(stderr, "no tensor %s\n", tensor.c_str());
    std::exit(2);
  }
  return {operation, std::atoi(tensor.c_str() + colon + 1)};
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

TF_Tensor* MakeTensor(const std::vector<std::string>& parts) {
  std::vector<int64_t> shape;
  for (const std::string& size : Split(parts[2], ',')) shape.push_back(std::stoll(size));
  const std::vector<std::string> values = Split(parts.size() > 3 ? parts[3] : "", ',');
  const TF_DataType type = parts[1] == "int64" ? TF_INT64 : TF_FLOAT;
  TF_Tensor* tensor = TF_AllocateTensor(type, shape.data(), static_cast<int>(shape.size()),
                                        values.size() * TF_DataTypeSize(type));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == TF_INT64) {
      static_cast<int64_t*>(TF_TensorData(tensor))[i] = std::stoll(values[i]);
    } else {
      static_cast<float*>(TF_TensorData(tensor))[i] = std::stof(values[i]);
    }
  }
  return tensor;
}

void Print(const std::string& name, TF_Tensor* tensor) {
  std::printf("%s ", name.c_str());
  for (int i = 0; i < TF_NumDims(tensor); ++i) {
    std::printf(i ? ",%lld" : "%lld", static_cast<long long>(TF_Dim(tensor, i)));
  }
  const float* values = static_cast<const float*>(TF_TensorData(tensor));
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i) std::printf(" %a", values[i]);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Buffer* meta_graph = TF_NewBuffer();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, nullptr, argv[1], tags, 1, graph,
                                                     meta_graph, status);
  Check(status);
  const std::string bytes(static_cast<const char*>(meta_graph->data), meta_graph->length);
  const Fields signature = Entry(Parse(bytes), 5, argv[2]);

  std::vector<TF_Output> feeds, fetches;
  std::vector<TF_Tensor*> inputs, outputs;
  std::vector<std::string> names;
  bool is_output = false;
  for (int i = 3; i < argc; ++i) {
    if (std::strcmp(argv[i], "--") == 0) {
      is_output = true;
    } else if (is_output) {
      fetches.push_back(Find(graph, Get(Entry(signature, 2, argv[i]), 1)));
      names.push_back(argv[i]);
    } else {
      const std::vector<std::string> parts = Split(argv[i], ':');
      feeds.push_back(Find(graph, Get(Entry(signature, 1, parts[0]), 1)));
      inputs.push_back(MakeTensor(parts));
    }
  }
  outputs.resize(fetches.size());
  TF_SessionRun(session, nullptr, feeds.data(), inputs.data(), static_cast<int>(feeds.size()),
                fetches.data(), outputs.data(), static_cast<int>(fetches.size()), nullptr, 0,
                nullptr, status);
  Check(status);
  for (size_t i = 0; i < outputs.size(); ++i) Print(names[i], outputs[i]);
  for (TF_Tensor* tensor : inputs) TF_DeleteTensor(tensor);
  for (TF_Tensor* tensor : outputs) TF_DeleteTensor(tensor);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteBuffer(meta_graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
