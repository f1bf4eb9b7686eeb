import { useEffect, useState } from "react";
import type { ListedDevice } from "../call/devices.ts";

/** The devices that the browser lists, renewed when they change and whenever `microphoneOn` does. */
export function useDevices(microphoneOn: boolean): readonly ListedDevice[] {
  const [listed, setListed] = useState<readonly ListedDevice[]>([]);
  useEffect(() => {
    // Not there in pages that came over plain http.
    const media = "mediaDevices" in navigator ? navigator.mediaDevices : undefined;
    let current = true;
    const renew = () => {
      media?.enumerateDevices().then(
        (devices) => {
          if (current) setListed(devices);
        },
        () => {
          // A browser that lists nothing leaves the choice to the system.
        },
      );
    };
    renew();
    media?.addEventListener("devicechange", renew);
    return () => {
      current = false;
      media?.removeEventListener("devicechange", renew);
    };
  }, [microphoneOn]);
  return listed;
}
