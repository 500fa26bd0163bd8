/* Recording from the microphone. */

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

const types = ['audio/webm;codecs=opus', 'audio/mp4', 'audio/ogg;codecs=opus'];

/* How loud it is, 0 to 1, until the returned function is called. */
function meter(stream, onLevel) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  const samples = new Float32Array(analyser.fftSize);
  context.createMediaStreamSource(stream).connect(analyser);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
    onLevel(Math.min(1, Math.max(0, 1 + Math.log10(power + 1e-9) / 5)));
  }, 80);
  return () => {
    clearInterval(timer);
    context.close();
  };
}

/* Begins; the result's stop() gives a promise of the file. */
export async function record(name, onLevel) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const type = types.find((each) => MediaRecorder.isTypeSupported(each));
  const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
  const parts = [];
  const endMeter = meter(stream, onLevel);
  recorder.ondataavailable = (e) => parts.push(e.data);
  recorder.start(1000);
  return {
    stop() {
      return new Promise((resolve) => {
        recorder.onstop = () => {
          const plain = recorder.mimeType.split(';')[0];
          resolve(new File(parts, `${name}.${plain.split('/')[1] || 'webm'}`, { type: plain }));
        };
        endMeter();
        recorder.stop();
        stream.getTracks().forEach((track) => track.stop());
      });
    },
  };
}
