import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installWhole } from '../../scripts/lib/install-whole.mjs';
import { pipInstall } from '../../scripts/lib/pip.mjs';
import { root } from '../../scripts/lib/project.mjs';
import { runCommand } from '../../scripts/lib/run-command.mjs';

/** Python with gRPC, and with what grpc_tools makes of proto/ as it is now. */
export interface PythonClient {
  /** Runs a program of test/flows. Throws with all that it printed if it fails; answers it otherwise. */
  run(program: string, ...args: readonly string[]): Promise<string>;
  stop(): void;
}

const requirements = join(root, 'test', 'support', 'python-requirements.txt');

/** The packages are installed at the first call, under .tools as Envoy is. */
export async function makePythonClient(): Promise<PythonClient> {
  const packages = await ensurePackages();
  const generated = mkdtempSync(join(tmpdir(), 'tideway-python-'));
  const env = { ...process.env, PYTHONPATH: [packages, generated].join(':'), PYTHONDONTWRITEBYTECODE: '1' };
  const python = async (...args: readonly string[]) => {
    const { code, output } = await runCommand('python3', args, { cwd: root, env });
    if (code !== 0) throw new Error(`python3 ${args[0]} ended with ${code}:\n${output}`);
    return output;
  };
  await python(
    ...['-m', 'grpc_tools.protoc', '-Iproto', '-Ithird_party'],
    ...[`--python_out=${generated}`, `--grpc_python_out=${generated}`],
    // grpc/ is left out: it would be a second package of that name, and Python has its own for health.
    ...globSync('**/*.proto', { cwd: join(root, 'proto') }),
    ...globSync('{google,buf}/**/*.proto', { cwd: join(root, 'third_party') }),
  );
  return {
    run: (program, ...args) => python(join('test', 'flows', program), ...args),
    stop: () => rmSync(generated, { recursive: true, force: true }),
  };
}

async function ensurePackages(): Promise<string> {
  const { code, output: version } = await runCommand('python3', ['-c', 'import sys; print(sys.version_info[:2])']);
  if (code !== 0) throw new Error('python3 is missing, and the Python client is to be tested with it');
  // Wheels are made for one version of Python.
  const key = createHash('sha256').update(version).update(readFileSync(requirements)).digest('hex').slice(0, 12);
  const folder = join(root, '.tools', `python-client-${key}`);
  if (existsSync(folder)) return folder;
  await installWhole(folder, async (unpacked) => {
    const { code, output } = await pipInstall(requirements, unpacked);
    if (code !== 0) throw new Error(`pip could not install the Python client's packages:\n${output}`);
  });
  return folder;
}
