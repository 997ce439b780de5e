// SPDX-License-Identifier: Apache-2.0
// Loads a SavedModel and runs a signature with the calls of TensorFlow Serving:
// LoadSavedModel with the tag "serve", and Session::Run with the names of the
// tensors of the signature.
//
//   session_loader MODEL on|off SIGNATURE OUT FILE... [-- FILE...]...
//
// "off" switches compilation by XLA off before the model is loaded, as
// tensorflow_model_server does unless a flag is given. The files up to "--" are
// one request. The input of the signature is string [B], the bytes of the
// files; or uint8 [B, H, W, 3], files with H and W as int32 and the pixels
// behind them.
//
// OUT/N gets a file for each output of request N, NAME.bin: rank and sides as
// int64, then the values; of strings the length of each, as int64, and its
// bytes. Standard output lists the names and types.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/public/session.h"

namespace tensorflow {
// Of tensorflow/compiler/jit/flags.h.
void DisableXlaCompilation();
}  // namespace tensorflow

namespace {

using tensorflow::Tensor;

[[noreturn]] void Fail(const std::string& text) {
  std::cerr << text << std::endl;
  std::exit(1);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Fail("cannot read " + path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Tensor MakeStrings(const std::vector<std::string>& files) {
  Tensor tensor(tensorflow::DT_STRING,
                {static_cast<std::int64_t>(files.size())});
  auto values = tensor.vec<tensorflow::tstring>();
  for (std::size_t i = 0; i < files.size(); ++i) values(i) = files[i];
  return tensor;
}

Tensor MakePixels(const std::vector<std::string>& files) {
  std::int32_t size[2];
  std::memcpy(size, files[0].data(), sizeof(size));
  const std::size_t bytes = std::size_t{3} * size[0] * size[1];
  Tensor tensor(
      tensorflow::DT_UINT8,
      {static_cast<std::int64_t>(files.size()), size[0], size[1], 3});
  std::uint8_t* to = tensor.flat<std::uint8_t>().data();
  for (const std::string& file : files) {
    if (file.size() != sizeof(size) + bytes) Fail("images of other sizes");
    std::memcpy(to, file.data() + sizeof(size), bytes);
    to += bytes;
  }
  return tensor;
}

void WriteNumber(std::ofstream& out, std::int64_t value) {
  out.write(reinterpret_cast<const char*>(&value), sizeof(value));
}

void WriteTensor(const std::string& path, const Tensor& tensor) {
  std::ofstream out(path, std::ios::binary);
  WriteNumber(out, tensor.dims());
  for (int i = 0; i < tensor.dims(); ++i) WriteNumber(out, tensor.dim_size(i));
  if (tensor.dtype() != tensorflow::DT_STRING) {
    const auto data = tensor.tensor_data();
    out.write(data.data(), data.size());
    return;
  }
  const auto values = tensor.flat<tensorflow::tstring>();
  for (int i = 0; i < values.size(); ++i) {
    WriteNumber(out, values(i).size());
    out.write(values(i).data(), values(i).size());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) Fail("usage: MODEL on|off SIGNATURE OUT FILE...");
  const std::string folder = argv[1], xla = argv[2], name = argv[3];
  const std::string out = argv[4];
  if (xla == "off") tensorflow::DisableXlaCompilation();

  tensorflow::SavedModelBundle bundle;
  auto status = tensorflow::LoadSavedModel(
      tensorflow::SessionOptions(), tensorflow::RunOptions(), folder,
      {"serve"}, &bundle);
  if (!status.ok()) Fail("load: " + std::string(status.message()));

  const auto& known = bundle.GetSignatures();
  const auto found = known.find(name);
  if (found == known.end()) Fail("no signature " + name);
  const auto& signature = found->second;
  if (signature.inputs().size() != 1) Fail("several inputs");
  const auto& input = signature.inputs().begin()->second;

  std::vector<std::string> keys, tensors;
  for (const auto& output : signature.outputs()) {
    keys.push_back(output.first);
    tensors.push_back(output.second.name());
    std::cout << output.first << " "
              << tensorflow::DataTypeString(output.second.dtype()) << "\n";
  }
  std::vector<std::vector<std::string>> requests(1);
  for (int i = 5; i < argc; ++i) {
    if (std::string(argv[i]) == "--") {
      requests.emplace_back();
    } else {
      requests.back().push_back(ReadFile(argv[i]));
    }
  }
  for (std::size_t number = 0; number < requests.size(); ++number) {
    const auto& files = requests[number];
    const Tensor fed = input.dtype() == tensorflow::DT_STRING
                           ? MakeStrings(files)
                           : MakePixels(files);
    std::vector<Tensor> outputs;
    tensorflow::RunMetadata metadata;
    status = bundle.GetSession()->Run(tensorflow::RunOptions(),
                                      {{input.name(), fed}}, tensors, {},
                                      &outputs, &metadata);
    if (!status.ok()) Fail("run: " + std::string(status.message()));
    const std::string place = out + "/" + std::to_string(number);
    std::filesystem::create_directories(place);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      WriteTensor(place + "/" + keys[i] + ".bin", outputs[i]);
    }
  }
  return 0;
}
