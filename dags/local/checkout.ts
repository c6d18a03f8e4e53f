/** Where this checkout is, and what of it the runner reads. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
export const COMPOSE_FILE = join(CHECKOUT, "docker-compose.yml");
/** Where Docker Compose, too, looks for the settings. */
export const ENV_FILE = join(CHECKOUT, ".env");
