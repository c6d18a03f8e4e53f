/** The names by which clients reach the embedded server. */
export const PORT = 5432;
export const USER = "rollbook";
export const DATABASE = "rollbook";
