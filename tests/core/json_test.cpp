#include "core/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace monge {
namespace {

TEST(Json, KeepsTheOrderOfKeysInBothDirections) {
  const Json value = parse_json(R"({"b": 1, "a": [true, null], "c": {"z": 0.1, "y": "text"}})");
  EXPECT_EQ(json_text(value), R"({"b":1,"a":[true,null],"c":{"z":0.1,"y":"text"}})");
  EXPECT_EQ(json_text(value.at("a"), 2), "[\n  true,\n  null\n]");
}

TEST(Json, WhatIsNotJsonIsDiscarded) {
  for (const char* text : {"", "{", "[1,]", "{} {}", "nan"}) EXPECT_TRUE(parse_json(text).is_discarded()) << text;
  EXPECT_FALSE(parse_json(" null ").is_discarded());
}

TEST(Json, BytesThatAreNotUtf8AreKept) {
  EXPECT_EQ(json_text(Json("a\xe9!")), "\"a\xf4\x8f\xbf\xa9!\"");
  // Lone and cut bytes, too long forms, surrogates, what stands for bytes itself, and characters that are right.
  for (const char* text :
       {"a\xe9!", "\x80", "\xff\xfe", "\xe2\x82", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf4\x8f\xbf\xa9", "\xf4\x8f\xbe\x80\xf4", "\xf4\x8f\xbd\xbf", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"}) {
    const std::string written = json_text({{"path", {text}}});
    EXPECT_EQ(parse_json(written)["path"][0].get<std::string>(), text) << written;
  }
  const std::string euro = "\xe2\x82\xac";
  EXPECT_EQ(json_text(Json(euro)), '"' + euro + '"');
}

}  // namespace
}  // namespace monge
