/** What the embedded server, its user and its database are called. */

export const PORT = 5432;
export const USER = "rollbook";
export const DATABASE = "rollbook";
