// The standard streams of the program: what a command prints is its result, and one that does not arrive is an error.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace monge::tools {

/// Before anything is opened: a standard stream that was closed must not become a file of a run. Reading or writing it
/// fails.
void hold_standard_streams();

/// A run goes on when whoever reads its progress has gone. Other commands end with their reader.
void keep_running_without_readers();

/// Prints at once, for output that takes its time. Throws RunError.
void print_now(std::string_view text);

/// What the system refused, for people: the output library does not say which file it could not write.
std::string refusal_text(const std::system_error& error);

/// At the end of a command: throws RunError unless all that was printed has arrived.
void finish_output();

}  // namespace monge::tools
