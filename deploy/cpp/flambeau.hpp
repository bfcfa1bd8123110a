// What both programs share: the folder of an export, values to arrays, answers to lines.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace flambeau {

// One array that a program takes, a batch of one.
struct Array {
  std::string name;
  std::string dtype;  // as numpy calls it
  std::vector<std::int64_t> shape;
  std::vector<char> bytes;
};

// The folder of an export with one input, a picture or a text, and classes. Throws std::runtime_error where it is none.
class Export {
 public:
  Export(const std::string& folder, const std::string& format);

  // The arrays for a picture's file (JPEG), or for a text in UTF-8. Throws std::runtime_error where it cannot be read.
  std::vector<Array> arrays(const std::string& value) const;

  bool takes_pictures() const { return field_.at("kind") == "image"; }

  std::string program;               // the file of its graph
  std::vector<std::string> outputs;  // what that gives, in order
  std::size_t answers;               // which of these holds the chances
  std::vector<std::string> labels;   // the classes, in the order of the chances

 private:
  nlohmann::json field_, ports_;
  std::unordered_map<std::string, std::int32_t> vocabulary_;
};

// The chances of each class, of arrays.
using Program = std::function<std::vector<float>(const std::vector<Array>&)>;

// The command `EXPORT [JPEG…]`: pictures by file, or texts by line of the standard input. Prints a line for each class,
// the likeliest first, and an empty line behind each input; status 2 where something cannot be read.
int command(int argc, char** argv, const std::string& format, const std::function<Program(const Export&)>& load);

}  // namespace flambeau
