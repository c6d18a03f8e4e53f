/** Why a connection was not made, and what to do about it. */
import { errorState, isConnectionLost, RollbookError, rootCause, SQLSTATE } from "../errors.ts";

/** Why an encrypted connection was not made. Each has its own remedy. */
type EncryptionFailure = "untrusted" | "wrong_host" | "expired" | "not_offered" | "handshake";

/** Codes of Node.js: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE_ERRORS: Readonly<Record<string, EncryptionFailure>> = {
  UNABLE_TO_GET_ISSUER_CERT: "untrusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "untrusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "untrusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "untrusted",
  SELF_SIGNED_CERT_IN_CHAIN: "untrusted",
  CERT_SIGNATURE_FAILURE: "untrusted",
  CERT_CHAIN_TOO_LONG: "untrusted",
  CERT_UNTRUSTED: "untrusted",
  CERT_REJECTED: "untrusted",
  CERT_REVOKED: "untrusted",
  INVALID_CA: "untrusted",
  INVALID_PURPOSE: "untrusted",
  PATH_LENGTH_EXCEEDED: "untrusted",
  ERR_TLS_CERT_ALTNAME_INVALID: "wrong_host",
  HOSTNAME_MISMATCH: "wrong_host",
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "expired",
};

/** pg gives these errors no code (pg 8, connection.js). */
const NOT_OFFERED: ReadonlySet<string> = new Set([
  "The server does not support SSL connections",
  "There was an error establishing an SSL connection",
]);

/** Why a connection could not be encrypted as asked; undefined for any other error. */
function encryptionFailure(error: unknown): EncryptionFailure | undefined {
  const state = errorState(error);
  if (state !== undefined) {
    // Codes of OpenSSL: alerts of the server, protocols that do not match.
    return CERTIFICATE_ERRORS[state] ?? (/^(ERR_SSL_|EPROTO$)/.test(state) ? "handshake" : undefined);
  }
  const cause = rootCause(error);
  return cause instanceof Error && NOT_OFFERED.has(cause.message) ? "not_offered" : undefined;
}

const AUTHORIZATION_REMEDY =
  "Check user and password in DATABASE_URL or the PG* variables, and whether the server wants encryption (sslmode) or a certificate (sslcert, sslkey).";

const CONNECTIONS_REMEDY =
  "A command takes up to five connections, and one to look for waits. End sessions that are idle (pg_stat_activity), or raise the limit: max_connections of the server, which needs a restart, or that of the login or the database (alter role, alter database ... connection limit).";

const ENCRYPTION_REMEDIES: Readonly<Record<EncryptionFailure, string>> = {
  untrusted:
    "Its certificate is not signed by an authority that is trusted here. Name the right one in sslrootcert (PGSSLROOTCERT); if it is named already, somebody may be answering in the server's place.",
  wrong_host:
    "Connect by a host name that its certificate has (PGHOST), or have one made for this name; if it is the right name, somebody may be answering in the server's place.",
  expired: "Have the server's certificate renewed, and check the clock of this machine.",
  not_offered:
    "Encryption was asked for (sslmode), so nothing was sent. Turn ssl on in the server, or see who answers in its place.",
  handshake:
    "Server and client could not agree on encryption: check the certificate in sslcert and the server's ssl settings.",
};

/**
 * Replaces the driver's error at connecting by one that names the place and the remedy; returns any other
 * error as it is.
 */
export function explainConnectionError(error: unknown, place: string): unknown {
  if (error instanceof RollbookError) return error;
  const state = errorState(error);
  const cause = rootCause(error);
  // For a host with several addresses the error holds several others, and has no message.
  const said = cause instanceof Error ? cause.message || state || cause.name : String(cause);
  const explain = (code: "connection" | "permission" | "configuration", remedy: string) =>
    new RollbookError({ code, message: `cannot connect to the ${place}: ${said}. ${remedy}`, cause: error });
  switch (state) {
    case SQLSTATE.invalidPassword:
    case SQLSTATE.invalidAuthorization:
      return explain("permission", AUTHORIZATION_REMEDY);
    case SQLSTATE.invalidCatalogName:
      return explain("configuration", "Create the database, or name another in DATABASE_URL or PGDATABASE.");
    case SQLSTATE.tooManyConnections:
      return explain("connection", CONNECTIONS_REMEDY);
  }
  const failure = encryptionFailure(error);
  // A retry does not help, and somebody may be tampering with the connection.
  if (failure !== undefined) return explain("configuration", ENCRYPTION_REMEDIES[failure]);
  if (isConnectionLost(error) || /timeout/i.test(said)) {
    return explain("connection", "Check that the server runs and that host and port are right.");
  }
  if (/SASL|password/i.test(said))
    return explain("permission", "Give the password in DATABASE_URL or PGPASSWORD.");
  return error;
}
