"""All that docs/performance.md shows, one measurement after the other, then the tables: python bench/everything.py.

About a quarter of an hour on two cores, which should have nothing else to do. What the file of results has already is
not measured again, so an interrupted run goes on.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOADED = ["convnet:1,64", "mlp-256:1,64,512"]
COMMANDS = [
    ["compare.py", "--cases", "convnet", "mlp-256", "mlp-1024", "resnet"],
    ["compare.py", "--cases", "rules", "--rounds", "5"],
    ["compare.py", "--cases", "kernels"],
    ["compare.py", "--cases", *LOADED, "--load", "1", "--rounds", "5"],
    ["compare.py", "--cases", *LOADED, "--load", "2", "--rounds", "5"],
    ["compare.py", "--cases", "convnet", "mlp-256", "mlp-1024", "resnet", "--cpu", "avx2", "--rounds", "5"],
    ["compile_time.py"],
    ["studies.py"],
]

if __name__ == "__main__":
    codes = []
    for script, *arguments in COMMANDS:
        print("python", f"bench/{script}", *arguments, flush=True)
        codes.append(subprocess.run([sys.executable, str(HERE / script), *arguments], check=False).returncode)
    codes.append(subprocess.run([sys.executable, str(HERE / "tables.py")], check=False).returncode)
    sys.exit(max(map(abs, codes)))
