/** The folders of an inbox for the drops that are done. */
export const ARCHIVE = "archive";
export const REJECTED = "rejected";
