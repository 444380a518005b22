// What the signed-in user may do: what is refused anyway is not offered. The server decides again with each request.

let refused = new Set();

/** Takes over what the server says of the user. */
export function learnRights({ refused_commands: names = [] }) {
  refused = new Set(names);
}

/** Whether the user may run one of these commands, such as `set` or `slowlog|get`, with some keys of some store. */
export const may = (...commands) => commands.some((command) => !refused.has(command));

/** The same, for a choice that is left out otherwise. */
export const ifMay = (command, offered) => may(command) && offered;
