#include "flambeau.hpp"

#include <jpeglib.h>
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <numeric>
#include <stdexcept>

namespace flambeau {
namespace {

using nlohmann::json;
constexpr std::int32_t UNKNOWN = 1;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
Array array(const json& port, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  const char* start = reinterpret_cast<const char*>(values.data());
  return {port.at("name"), port.at("dtype"), std::move(shape), {start, start + values.size() * sizeof(T)}};
}

struct Pixels {
  int height, width, channels;
  std::vector<std::uint8_t> values;  // (H, W, C)
};

// How a camera was held: the EXIF tag 0x0112 of an APP1 segment, 1 to 8; 1 where there is none.
int orientation(const std::uint8_t* data, std::size_t size) {
  if (size < 14 || std::memcmp(data, "Exif\0\0", 6) != 0) return 1;
  const std::uint8_t* tiff = data + 6;
  size -= 6;
  const bool little = tiff[0] == 'I';
  auto number = [&](std::size_t at, int bytes) -> std::size_t {
    std::size_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | (at + bytes <= size ? tiff[at + (little ? bytes - 1 - i : i)] : 0);
    return value;
  };
  const std::size_t table = number(4, 4);
  for (std::size_t entry = 0; entry < number(table, 2); ++entry) {
    const std::size_t at = table + 2 + 12 * entry;
    if (number(at, 2) == 0x0112) return static_cast<int>(std::clamp<std::size_t>(number(at + 8, 2), 1, 8));
  }
  return 1;
}

Pixels upright(const Pixels& from, int turned) {
  if (turned == 1) return from;
  const bool swapped = turned >= 5;
  Pixels to{swapped ? from.width : from.height, swapped ? from.height : from.width, from.channels, {}};
  to.values.resize(from.values.size());
  const bool down = turned == 3 || turned == 4 || turned == 6 || turned == 7;
  const bool left = turned == 2 || turned == 3 || turned == 7 || turned == 8;
  for (int y = 0; y < to.height; ++y)
    for (int x = 0; x < to.width; ++x) {
      int row = swapped ? x : y, column = swapped ? y : x;
      if (down) row = from.height - 1 - row;
      if (left) column = from.width - 1 - column;
      const auto* pixel = &from.values[(static_cast<std::size_t>(row) * from.width + column) * from.channels];
      std::copy_n(pixel, from.channels, &to.values[(static_cast<std::size_t>(y) * to.width + x) * from.channels]);
    }
  return to;
}

// A JPEG in RGB or grey, turned as its EXIF says.
Pixels decoded(const std::string& path, int channels) {
  const std::string data = read(path);
  jpeg_error_mgr errors;
  jpeg_decompress_struct decoder;
  decoder.err = jpeg_std_error(&errors);
  errors.error_exit = [](j_common_ptr about) {
    char message[JMSG_LENGTH_MAX];
    about->err->format_message(about, message);
    throw std::runtime_error(message);
  };
  errors.output_message = [](j_common_ptr) {};
  jpeg_create_decompress(&decoder);
  const std::unique_ptr<jpeg_decompress_struct, void (*)(jpeg_decompress_struct*)> freed(
      &decoder, [](jpeg_decompress_struct* one) { jpeg_destroy_decompress(one); });
  try {
    jpeg_mem_src(&decoder, reinterpret_cast<const unsigned char*>(data.data()), data.size());
    jpeg_save_markers(&decoder, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&decoder, TRUE);
    decoder.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&decoder);
    Pixels pixels{static_cast<int>(decoder.output_height), static_cast<int>(decoder.output_width), channels, {}};
    const std::size_t row = static_cast<std::size_t>(pixels.width) * channels;
    pixels.values.resize(row * pixels.height);
    while (decoder.output_scanline < decoder.output_height) {
      JSAMPROW line = pixels.values.data() + row * decoder.output_scanline;
      jpeg_read_scanlines(&decoder, &line, 1);
    }
    int turned = 1;
    for (auto marker = decoder.marker_list; marker && turned == 1; marker = marker->next)
      turned = orientation(marker->data, marker->data_length);
    return upright(pixels, turned);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path + " is no JPEG that can be read (" + error.what() + ")");
  }
}

// The words or characters of a text, as Flambeau cuts it: see flambeau_onnx/cutting.py.
std::vector<std::string> pieces(const std::string& text, const json& field) {
  static const std::string space = R"(\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000)";
  static const std::string word = R"([\p{L}\p{N}_][\p{L}\p{N}_\p{M}]*)";
  static const std::string words = word + "(?:['\\u2019]" + word + R"()*|[^\p{L}\p{N}_)" + space + R"(]\p{M}*)";
  UErrorCode status = U_ZERO_ERROR;
  icu::UnicodeString plain = icu::Normalizer2::getNFCInstance(status)->normalize(icu::UnicodeString::fromUTF8(text), status);
  if (field.at("lower")) plain.toLower(icu::Locale::getRoot());
  auto matches = [&](const std::string& pattern, const icu::UnicodeString& within, std::size_t most) {
    std::vector<std::string> found;
    icu::RegexMatcher matcher(icu::UnicodeString::fromUTF8(pattern), within, 0, status);
    while (found.size() < most && matcher.find(status)) matcher.group(status).toUTF8String(found.emplace_back());
    return found;
  };
  const std::string one = "[^" + space + "]";
  const bool in_words = field.at("cut") == "words";
  std::vector<std::string> cut = matches(in_words ? words : one, plain, field.at("max_length"));
  const std::size_t letters = in_words && field.at("characters").is_number() ? field.at("characters").get<std::size_t>() : 0;
  const icu::UnicodeString start = plain.tempSubString(0, plain.moveIndex32(0, static_cast<int>(2 * letters)));
  for (const std::string& letter : matches(one, start, letters)) cut.push_back(" " + letter);
  if (U_FAILURE(status)) throw std::runtime_error(std::string("the text cannot be read: ") + u_errorName(status));
  return cut;
}

}  // namespace

Export::Export(const std::string& folder, const std::string& format) {
  const json manifest = json::parse(read(folder + "/export.json")), fields = json::parse(read(folder + "/fields.json"));
  if (manifest.at("format") != format)
    throw std::runtime_error(folder + " has the format " + manifest.at("format").get<std::string>() + "; take --format " + format);
  if (manifest.at("files").contains("decision.json"))
    for (const auto& [name, value] : json::parse(read(folder + "/decision.json")).items())
      if (name != "seal" && !value.is_null() && !value.empty())
        throw std::runtime_error(folder + " decides by thresholds or costs, which are not known here");
  if (fields.at("inputs").size() != 1) throw std::runtime_error(folder + " takes several inputs; one is known here");
  field_ = fields.at("fields").at(fields.at("inputs")[0].get<std::string>());
  const json& said = field_;
  const bool picture = said.at("kind") == "image", text = said.at("kind") == "text";
  if (!picture && !text)
    throw std::runtime_error(folder + " takes a " + said.at("kind").get<std::string>() + "; pictures and texts are known here");
  if (picture && (!said.at("values").is_null() || said.at("resize") == "keep"))
    throw std::runtime_error(folder + " takes pictures of more than 8 bits or of any size, which are not known here");
  if (text) {
    if (said.at("cut") != "words" && said.at("cut") != "characters")
      throw std::runtime_error(folder + " takes texts cut into " + said.at("cut").get<std::string>() + "; words and characters are known here");
    for (const auto& piece : said.at("vocabulary"))
      vocabulary_.emplace(piece, static_cast<std::int32_t>(vocabulary_.size()));
  }
  const json& graph = manifest.at("programs").at("predict");
  program = folder + "/" + graph.at("file").get<std::string>();
  ports_ = graph.at("inputs");
  for (const auto& port : graph.at("outputs")) outputs.push_back(port.at("name"));
  const auto named = std::find(outputs.begin(), outputs.end(), manifest.at("target").value("answers", ""));
  labels = manifest.at("target").value("labels", labels);
  if (labels.empty() || named == outputs.end()) throw std::runtime_error(folder + " does not answer with classes");
  answers = static_cast<std::size_t>(named - outputs.begin());
}

std::vector<Array> Export::arrays(const std::string& value) const {
  if (takes_pictures()) {
    const Pixels pixels = decoded(value, field_.at("colour") == "grey" ? 1 : 3);
    return {array(ports_[0], {1, pixels.height, pixels.width, pixels.channels}, pixels.values)};
  }
  std::vector<std::int32_t> numbers;
  for (const std::string& piece : pieces(value, field_)) {
    const auto known = vocabulary_.find(piece);
    numbers.push_back(known == vocabulary_.end() ? UNKNOWN : known->second);
  }
  if (numbers.empty()) throw std::runtime_error("the text is empty");
  const auto length = static_cast<std::int64_t>(numbers.size());
  return {array(ports_[0], {1, length}, numbers), array(ports_[1], {1}, std::vector<std::int64_t>{length})};
}

int command(int argc, char** argv, const std::string& format, const std::function<Program(const Export&)>& load) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " EXPORT [JPEG…]; texts are lines of the standard input\n";
    return 2;
  }
  try {
    const Export given(argv[1], format);
    const Program program = load(given);
    auto answer = [&](const std::string& value) {
      const std::vector<float> chances = program(given.arrays(value));
      std::vector<std::size_t> order(given.labels.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return chances.at(a) > chances.at(b); });
      for (const std::size_t place : order) std::printf("%.6f %s\n", chances[place], given.labels[place].c_str());
      std::printf("\n");
    };
    if (given.takes_pictures())
      for (int place = 2; place < argc; ++place) answer(argv[place]);
    else
      for (std::string line; std::getline(std::cin, line);) answer(line);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 2;
  }
  return 0;
}

}  // namespace flambeau
