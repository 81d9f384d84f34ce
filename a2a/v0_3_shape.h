#pragma once

// What the two shapes of A2A 0.3 (v0_3.h, v0_3_proto.h) have in common when they are made
// into 1.0's and back: members that are called otherwise, parts by the part, authentication with a
// list of schemes, `blocking`. What differs between them stays with each.

#include "rpc/value.h"

#include <initializer_list>
#include <string>
#include <string_view>

namespace ambit::a2a::v0_3_shape {

using PartChange = rpc::Json (*)(rpc::Json part);
// Something with parts, or a message.
using Change = rpc::Json (*)(rpc::Json json);

void rename(rpc::Json& json, const char* from, const char* to);
// Every member of the array `holder[key]`, where there is one.
void change_each(rpc::Json& holder, const char* key, Change change);
// 0.3 knows data that are objects alone; others become {"value": ...}.
rpc::Json object_of(rpc::Json data);

// Of a task in 1.0's names of members: artifacts' parts and history, by what changes one of each.
void change_task(rpc::Json& task, PartChange part, Change message);

// A client's push configuration in a message that it sends, down to 0.3 under its name there, and
// whether it waits.
void downgrade_configuration(rpc::Json& params, const char* push_name, bool has_blocking);

// {"schemes": [...]} becomes {"scheme": ...}, and back.
rpc::Json upgrade_push(rpc::Json config);
void downgrade_authentication(rpc::Json& config);
// The configuration of a message that is sent; `push_names` is what a push configuration in it may
// be called.
void upgrade_configuration(rpc::Json& params, std::initializer_list<const char*> push_names);

// ProtoJSON is read under both names of a member, "taskId" and "task_id". Free JSON (metadata,
// data, parameters) stays as it is. True: some member had its proto's name.
bool to_json_names(rpc::Json& json);
void to_proto_names(rpc::Json& json);
std::string json_name(std::string_view proto_name);

// Whether a stream of 0.3 ends with a state, in 1.0's name.
bool is_final(std::string_view state);

}  // namespace ambit::a2a::v0_3_shape
