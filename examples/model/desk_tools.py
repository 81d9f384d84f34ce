"""Hand-written tools in the style of an operations desk; training split only.

Each entry: name, description, parameters, request patterns, result fields.
A parameter is `name:kind`, `name?:kind` when optional; an enum's kind is
`a|b|c`.  In a pattern `{p}` stands for a bare value and `[...]` for words that
are dropped when the value is a reference ("the host from step 2").  Required
parameters that a pattern does not name are added as "with owner team-blue".
"""

DESK_TOOLS = [
    ("read_file", "Read a text file", "path:path", ["Read [the file ]{path}", "Read [file ]{path}"], "owner:team host:host port:int mode:word path:path version:version"),
    ("read_file", "Read a file and return its text", "path:path lines?:int", ["Read [the file ]{path}", "Read {path}"], "owner:team limit:int region:word key:id"),
    ("grep", "Search a file for a pattern", "pattern:phrase file:path", ["Search [the file ]{file} for {pattern}", "Search {file} for {pattern}", "Search for {pattern} in {file}"], "@log"),
    ("search_log", "Search a log file for a pattern", "pattern:phrase file:path", ["Search [the log ]{file} for {pattern}", "Search {file} for {pattern}"], "@log"),
    ("search_log", "Search a log for a text", "file:path pattern:phrase limit?:int", ["Search [the log ]{file} for {pattern}", "Search {file} for {pattern}"], "@log"),
    ("list_files", "List the files of a folder", "path:path", ["List the files of {path}", "List the files in {path}"], "count:int newest:path"),
    ("list_dir", "List a folder", "path:path recursive?:bool", ["List [the folder ]{path}"], "count:int newest:path"),
    ("write_file", "Write a text to a file", "path:path text:phrase", ["Write {text} to [the file ]{path}", "Write {text} to {path}"], "bytes:int"),
    ("append_note", "Append a note to a file", "path:path note:phrase", ["Append [the note ]{note} to {path}"], "line:int"),
    ("delete_file", "Delete a file", "path:path", ["Delete [the file ]{path}", "Delete {path}"], ""),
    ("remove_file", "Remove a file from the disk", "path:path", ["Remove [the file ]{path}"], ""),
    ("move_file", "Move a file to a new place", "source:path target:path", ["Move [the file ]{source} to {target}"], ""),
    ("lookup_service", "Look up a service", "service:service", ["Look up [the service ]{service}", "Look up {service}"], "owner:team tier:int host:host"),
    ("lookup_owner", "Look up the owner of a service", "service:service", ["Look up the owner of [the service ]{service}", "Look up the owner of {service}"], "owner:team contact:email"),
    ("get_service", "Get the record of a service", "name:service", ["Get the record of [the service ]{name}", "Get [the service ]{name}"], "owner:team tier:int version:version"),
    ("lookup_host", "Look up a host", "host:host", ["Look up [the host ]{host}"], "ip:ip zone:word rack:id"),
    ("lookup_user", "Look up a user by name", "name:word", ["Look up [the user ]{name}"], "email:email team:team phone:id"),
    ("oncall_lookup", "Look up who is on call for a team", "team:team", ["Look up who is on call for [the team ]{team}", "Look up the on call of {team}"], "user:word phone:id"),
    ("get_runbook", "Get the runbook of a service", "service:service", ["Get the runbook of [the service ]{service}", "Get the runbook for {service}"], "path:path owner:team"),
    ("open_ticket", "Open a ticket", "id:id owner:team severity:low|medium|high summary:phrase", ["Open a ticket", "Open a ticket"], "ticket:id"),
    ("open_ticket", "Open a ticket for an incident", "id:id owner:team severity:low|medium|high|critical summary?:phrase", ["Open a ticket for {id}", "Open a ticket for [incident ]{id}"], "ticket:id queue:word"),
    ("create_ticket", "Create a ticket in the tracker", "title:phrase owner:team priority:int", ["Create a ticket"], "ticket:id"),
    ("update_ticket", "Update the status of a ticket", "ticket:id status:open|closed|waiting", ["Update [the ticket ]{ticket}"], "status:word"),
    ("close_ticket", "Close a ticket", "ticket:id reason?:phrase", ["Close [the ticket ]{ticket}"], ""),
    ("add_comment", "Add a comment to a ticket", "ticket:id comment:phrase", ["Add the comment {comment} to {ticket}", "Add [the comment ]{comment} to [ticket ]{ticket}"], ""),
    ("assign_ticket", "Assign a ticket to an owner", "ticket:id owner:team", ["Assign [the ticket ]{ticket} to {owner}"], ""),
    ("restart_service", "Restart a service in an environment", "service:service environment:staging|production", ["Restart [the service ]{service} in {environment}", "Restart {service} in {environment}", "Restart [the service ]{service}"], "pid:int"),
    ("restart_service", "Restart a service", "service:service environment?:staging|production|test", ["Restart [the service ]{service}", "Restart {service}"], ""),
    ("stop_service", "Stop a service", "service:service force?:bool", ["Stop [the service ]{service}"], ""),
    ("scale_service", "Scale a service to a number of replicas", "service:service replicas:int", ["Scale [the service ]{service} to {replicas}", "Scale {service} to {replicas} replicas"], ""),
    ("rollback_release", "Roll back a service to a version", "service:service version:version", ["Roll back [the service ]{service} to {version}"], "build:id"),
    ("check_health", "Check the health of a service", "service:service", ["Check the health of [the service ]{service}", "Check the health of {service}"], "status:word latency:int version:version"),
    ("get_metric", "Get a metric of a host", "host:host metric:word minutes?:int", ["Get [the metric ]{metric} of [host ]{host}", "Get {metric} of {host}"], "value:int unit:word"),
    ("page_oncall", "Page the on-call engineer of a team", "team:team message:phrase", ["Page [the team ]{team} with message {message}", "Page [the team ]{team}"], "page:id"),
    ("send_message", "Send a message to a channel", "channel:word text:phrase", ["Send {text} to [the channel ]{channel}", "Send a message"], "message:id"),
    ("send_email", "Send an email", "to:email subject:phrase", ["Send an email to {to}", "Send an email"], "message:id"),
    ("block_ip", "Block an address at the firewall", "ip:ip minutes?:int", ["Block [the address ]{ip}", "Block {ip}"], "rule:id"),
    ("get_deploy", "Get the last deploy of a service", "service:service", ["Get the last deploy of {service}", "Get the last deploy of [the service ]{service}"], "version:version author:word build:id"),
    ("run_query", "Run a query on a database", "query:phrase database:word", ["Run [the query ]{query} on {database}"], "rows:int"),
    ("drain_node", "Drain a node", "node:host force?:bool", ["Drain [the node ]{node}"], "moved:int"),
    ("set_flag", "Set a feature flag", "flag:word enabled:bool", ["Set [the flag ]{flag}"], ""),
    ("rotate_key", "Rotate the key of a service", "service:service", ["Rotate the key of [the service ]{service}", "Rotate the key of {service}"], "key:id"),
]

SYSTEMS = [
    "You run the steps of a report with the tools.",
    "You are a desk agent. Run the steps one by one.",
    "You are a helpful assistant.",
    "You handle incident reports. Use the tools. Answer briefly.",
    "Use the tools to do what the user asks.",
    "You are an operations agent. One call in each turn.",
    "Do what the report says, step by step, and then say what was done.",
]
