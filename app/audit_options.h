#pragma once

// What the commands of `ambit audit` share: where the record is, the filters, and reading it in a
// child process, since a damaged file can end the process that reads it.

#include "app/command.h"
#include "log/reader.h"

#include <functional>
#include <string>
#include <vector>

namespace ambit::app {

// The journal's folder in the state folder; an error that says how to get one if there is none.
Result<std::string> journal_of(const Options& options, const Context& context);
Result<log::Filter> filter_of(const Options& options);
Result<std::uint64_t> index_of(const std::string& text);
Result<log::VerifierKey> key_of_log(const std::string& folder);

OptionSpec state_option();
// The state option, the filters, and `more`.
std::vector<OptionSpec> filter_options(std::vector<OptionSpec> more);

// Runs `read` in a child; the exit code is the child's, and a crash is one clear line. SIGINT and
// SIGTERM are the child's to answer, which ends with this process in any case.
int read_apart(const std::function<Result<void>()>& read);

std::string padded(std::string text, std::size_t width);

}  // namespace ambit::app
