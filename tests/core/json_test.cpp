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

TEST(Json, BytesThatAreNotUtf8AreReplaced) { EXPECT_EQ(json_text(Json("a\xff!")), "\"a\xef\xbf\xbd!\""); }

}  // namespace
}  // namespace monge
